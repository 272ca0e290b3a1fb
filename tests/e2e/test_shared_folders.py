"""Two services with stores of their own and the same folders: what one of them has there, the other leaves alone."""

from __future__ import annotations

import contextlib
import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_imports import Service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Launcher, Process


def environ(folder: Path, store: str, **settings: str) -> dict[str, str]:
    """Settings of a service that differs from others in `folder` by its store."""
    return {
        "ASTRA_STORE__URL": store,
        "ASTRA_CLICKS__JOURNAL": f"{folder}/data/journal",
        "ASTRA_IMPORTS__FOLDER": f"{folder}/data/imports",
        "ASTRA_METRICS__FOLDER": f"{folder}/data/metrics",
        "ASTRA_CLICKS__ADOPT_INTERVAL": "100ms",
        **{f"ASTRA_{name}": value for name, value in settings.items()},
    }


def created(process: Process) -> str:
    """Make a link; returns its code."""
    with contextlib.closing(process.connection()) as connection:
        body = json.dumps({"url": "https://example.com/"})
        connection.request("POST", "/v1/links", body=body, headers={"content-type": "application/json"})
        response = connection.getresponse()
        assert response.status == 201
        return str(json.loads(response.read())["code"])


def clicked(process: Process, code: str, times: int) -> None:
    """Follow a link, each time to its answer."""
    with contextlib.closing(process.connection()) as connection:
        for _ in range(times):
            connection.request("GET", f"/{code}")
            response = connection.getresponse()
            response.read()
            assert response.status == 302


def visits(process: Process, code: str) -> int:
    """How often the service says that a link was followed."""
    return int(json.loads(process.get(f"/v1/links/{code}")[1])["visits"])


def recorded(process: Process) -> int:
    """The clicks that the service says it has stored."""
    found = re.search(rb"^astra_clicks_recorded_total (\S+)", process.get("/metrics")[1], re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def files(folder: Path) -> set[Path]:
    """The segments in the journal."""
    return set((folder / "data" / "journal").rglob("*.seg"))


@pytest.mark.parametrize("store", ["memory:", "sqlite:{}/other.db"])
def test_clicks_of_a_killed_service_wait_for_their_own_store(launch: Launcher, tmp_path: Path, store: str) -> None:
    """The other service goes on beside them, and every answered click is counted once after the restart."""
    mine = f"sqlite:{tmp_path}/astra.db"
    first = launch.serve(env=environ(tmp_path, mine, CLICKS__APPLY_INTERVAL="60s")).ready()
    second = launch.serve(env=environ(tmp_path, store.format(tmp_path))).ready()
    code, other = created(first), created(second)
    clicked(second, other, 20)
    clicked(first, code, 300)
    of_second = files(tmp_path)
    first.close()
    time.sleep(1.0)  # ten rounds of adoption
    left = files(tmp_path)
    assert len(left & of_second) >= 4, "the second store's process took segments of the first one's"
    clicked(second, other, 20)
    second.until("counted", lambda: visits(second, other) == 40)
    again = launch.serve(env=environ(tmp_path, mine)).ready()
    again.until("counted", lambda: visits(again, code) >= 300)
    assert visits(again, code) == 300
    clicked(again, code, 5)
    again.until("counted", lambda: visits(again, code) == 305)
    assert visits(second, other) == 40
    assert recorded(second) == 40
    assert 5 <= recorded(again) <= 305  # what was not yet published when it was killed went with it
    assert "files of another store are left to it" in again.stderr


def test_what_a_killed_service_in_memory_left_is_removed(launch: Launcher, tmp_path: Path) -> None:
    """By the next service that has the folder, whatever its store; nobody else will ever want it."""
    first = launch.serve(env=environ(tmp_path, "memory:", IMPORTS__WORKER="false")).ready()
    clicked(first, created(first), 20)
    Service(first).json("POST", "/v1/imports", b'{"url": "https://example.com/"}')
    first.close()
    left = [path for path in (tmp_path / "data").glob("*/memory-*") if any(path.iterdir())]
    assert {path.parent.name for path in left} == {"journal", "imports", "metrics"}
    launch.serve(env=environ(tmp_path, f"sqlite:{tmp_path}/astra.db")).ready()
    assert [path for path in left if path.exists()] == []


def test_two_services_carry_out_their_own_imports(launch: Launcher, tmp_path: Path) -> None:
    """Each has the lease of its store, and the files of its store."""
    stores = [f"sqlite:{tmp_path}/{name}.db" for name in ("one", "two")]
    services = [Service(launch.serve(env=environ(tmp_path, store)).ready()) for store in stores]
    keys = [service.json("POST", "/v1/imports", b'{"url": "https://example.com/"}')["id"] for service in services]
    for service, key in zip(services, keys, strict=True):
        view = service.ends(key)
        assert (view["state"], view["created"]) == ("done", 1)
