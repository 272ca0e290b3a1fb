"""`app.main.process` under every server that may run it, with an application that does nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Launcher

PROBE = "probe:asgi"
SINGLE = ["uvicorn", "uvicorn --loop asyncio --http h11", "hypercorn -w 0", "hypercorn -w 0 -k uvloop"]
SEVERAL = ["uvicorn --workers 2", "hypercorn -w 1", "hypercorn -w 2", "hypercorn -w 2 -k uvloop"]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that wait."""
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.mark.parametrize("server", [*SINGLE, *SEVERAL])
def test_sigterm_lets_short_requests_finish_and_cuts_long_ones(
    launch: Launcher, pool: ThreadPoolExecutor, server: str
) -> None:
    """After SIGTERM a short request is answered, one that outlasts the drain is cut, and the process is gone."""
    process = launch.bare(server, PROBE).ready()
    with_short, with_long = process.connection(), process.connection()
    short = pool.submit(ask, with_short, "/sleep/0.6")
    long = pool.submit(ask, with_long, "/sleep/60")
    process.get("/sleep/0.2")  # by its end both were taken
    process.signal(signal.SIGTERM)
    process.code()
    assert short.result() == 200
    assert long.result() == 503
    assert not process.listening()
    assert "Traceback" not in process.stderr


def ask(connection: object, path: str) -> int:
    """One GET; the status."""
    connection.request("GET", path)  # type: ignore[attr-defined]
    status: int = connection.getresponse().status  # type: ignore[attr-defined]
    connection.close()  # type: ignore[attr-defined]
    return status


@pytest.mark.parametrize("server", SEVERAL)
def test_workers_whose_parent_was_killed_free_the_port(launch: Launcher, server: str) -> None:
    """`kill -9` of the parent ends the workers too, and the port is free."""
    process = launch.bare(server, PROBE).ready()
    process.signal(signal.SIGKILL)
    assert process.code() == -signal.SIGKILL
    process.until("free", lambda: not process.listening(), running=False)


@pytest.mark.parametrize("server", ["uvicorn --workers 2", "hypercorn -w 2"])
def test_a_lost_parent_does_not_cut_a_request_in_flight(
    launch: Launcher, pool: ThreadPoolExecutor, server: str
) -> None:
    """A worker whose parent was killed answers what it has taken before it ends."""
    process = launch.bare(server, PROBE).ready()
    answer = pool.submit(ask, process.connection(), "/sleep/0.8")
    process.get("/sleep/0.2")
    process.signal(signal.SIGKILL)
    assert answer.result() == 200
    process.until("free", lambda: not process.listening(), running=False)


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn -w 0"])
def test_a_single_server_outlives_the_shell_that_started_it(launch: Launcher, server: str, tmp_path: Path) -> None:
    """A server without a parent of its own serves on when the program that started it is gone."""
    process = launch.bare(server, PROBE)
    code = f"import subprocess, sys; subprocess.Popen({process.popen.args!r})"
    process.ready().close()
    shell = subprocess.Popen(
        [sys.executable, "-c", code], env=process.env, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert shell.wait(30) == 0
        process.until("answering", process.answers, running=False)
        for _ in range(3):
            assert process.get("/pid")[0] == 200
    finally:
        os.killpg(shell.pid, signal.SIGKILL)


@pytest.mark.parametrize("server", ["uvicorn", "uvicorn --workers 2", "hypercorn -w 0", "hypercorn -w 1"])
def test_a_process_that_cannot_end_is_ended(launch: Launcher, server: str) -> None:
    """A lifespan that never finishes its shutdown does not keep the process."""
    process = launch.bare(server, PROBE, env={"PROBE_BLOCKS": "1"}).ready()
    process.signal(signal.SIGTERM)
    process.code()
    process.until("free", lambda: not process.listening(), running=False)


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn -w 0"])
def test_an_order_to_stop_that_comes_while_starting_is_not_lost(launch: Launcher, server: str) -> None:
    """A signal that reached the server before the process was watched still ends a lifespan that never finishes."""
    process = launch.bare(server, PROBE, env={"PROBE_BLOCKS": "1", "PROBE_TOLD": "1"})
    process.code()
    assert not process.listening()


@pytest.mark.parametrize("server", [*SINGLE, *SEVERAL])
def test_a_refused_start_is_one_line_and_nothing_serves(launch: Launcher, server: str) -> None:
    """Start-up that is refused prints its reason on one line, no traceback, and leaves no process on the port."""
    process = launch.bare(server, PROBE, env={"PROBE_REFUSES": "1"})
    process.code()
    process.until("free", lambda: not process.listening(), running=False)
    lines = [line for line in process.stderr.splitlines() if "refuses" in line]
    assert lines
    assert set(lines) == {"astra: cannot start: the probe refuses"}
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("broken", ["dynaconf", "starlette"])
@pytest.mark.parametrize("server", ["uvicorn", "uvicorn --workers 2", "hypercorn -w 0", "hypercorn -w 2"])
def test_a_start_that_fails_of_what_nobody_foresaw_is_refused(
    launch: Launcher, tmp_path: Path, server: str, broken: str
) -> None:
    """An error of any kind, here a package that cannot be imported, ends the server; it does not serve without us."""
    (tmp_path / f"{broken}.py").write_text("raise RuntimeError('cannot be loaded')")
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    process = launch.bare(server, env={"PYTHONPATH": path, "ASTRA_SETTINGS": str(ROOT / "settings")})
    process.code()
    process.until("free", lambda: not process.listening(), running=False)
    assert "astra: cannot start: RuntimeError: cannot be loaded" in process.stderr
    assert "appears unsupported" not in process.stderr


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_a_worker_of_serve_knows_both_ends(launch: Launcher, protocol: str, pool: ThreadPoolExecutor) -> None:
    """On the inherited socket a worker sees the client's and its own TCP address, and drains like any other."""
    process = launch.start(str(Path(__file__).parent / "probe_serve.py"), protocol).ready()
    connection = process.connection()
    connection.request("GET", "/addresses")
    client, server = json.loads(connection.getresponse().read())
    assert client == list(connection.sock.getsockname())
    assert server == ["127.0.0.1", process.port]
    connection.close()
    answer = pool.submit(ask, process.connection(), "/sleep/0.6")
    process.get("/sleep/0.2")
    process.signal(signal.SIGTERM)
    assert process.code() == 0
    assert answer.result() == 200
