"""A real Prometheus scrapes the service, and answers what the dashboards ask."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.conftest import Launcher
from tests.e2e.faults.client import Connection
from tests.e2e.faults.servers import Data

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = os.environ.get("ASTRA_TEST_PROMETHEUS_URL", "")
TARGETS = os.environ.get("ASTRA_TEST_PROMETHEUS_TARGETS", "")
DASHBOARDS = sorted((Path(__file__).parents[3] / "helm" / "astra" / "dashboards").glob("*.json"))
JOB = "astra-dashboards"
PATIENCE = 60.0
WITHOUT_DATA = {
    "Errors by route",  # no request fails here
    "Failed operations",
    "Size of requests",  # and 0 / 0 where there was none
}
"""Panels that have nothing to show in good order."""
ELSEWHERE = (
    *("astra_messag", "astra_relay", "astra_workflow_", "astra_lease"),
    *("astra_member", "astra_slot", "astra_import"),
)
"""Beginnings of metrics of what runs in a process of its own, or is not asked of the service here."""


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launcher]:
    """Start servers; all that they started is killed afterwards."""
    launcher = Launcher(tmp_path)
    yield launcher
    launcher.close()


def scrape_also(instance: str | None) -> None:
    """Have Prometheus scrape this address too; None: no longer."""
    file = Path(TARGETS)
    entries = json.loads(file.read_text() or "[]") if file.exists() else []
    entries = [entry for entry in entries if entry.get("labels", {}).get("job") != JOB]
    if instance is not None:
        entries.append({"targets": [instance], "labels": {"job": JOB}})
    file.write_text(json.dumps(entries))


async def ask(http: httpx.AsyncClient, expression: str) -> list[dict[str, Any]]:
    """Return what Prometheus answers to an expression now."""
    answer = await http.get(f"{URL}/api/v1/query", params={"query": expression})
    found = answer.json()
    assert found["status"] == "success", (expression, found)
    result: list[dict[str, Any]] = found["data"]["result"]
    return result


def expressions(file: Path, instance: str) -> Iterator[tuple[str, str]]:
    """Yield panel and expression, with the variables as Grafana would put them."""
    for panel in json.loads(file.read_text())["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"].replace("$__rate_interval", "10s").replace("$job", JOB).replace("$instance", instance)
            yield panel["title"], text


@pytest.mark.timeout(240)
@pytest.mark.skipif(not (URL and TARGETS), reason="needs an engine: ASTRA_TEST_PROMETHEUS_URL and _TARGETS are not set")
async def test_every_dashboard_shows_data_of_a_served_service(launch: Launcher, tmp_path: Path) -> None:
    """Two workers under some traffic, scraped each second: every expression is answered, and with data."""
    environ = {**Data(tmp_path).environ(METRICS__FOLDER=str(tmp_path / "metrics"))}
    process = launch.serve("--workers", "2", env=environ).ready()
    instance = f"127.0.0.1:{process.port}"
    scrape_also(instance)
    traffic = asyncio.create_task(use(process.port or 0))
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
            end = time.monotonic() + PATIENCE
            scraped = f'count_over_time(astra_workers{{instance="{instance}"}}[2m])'
            while not (found := await ask(http, scraped)) or float(found[0]["value"][1]) < 15:
                assert not traffic.done(), traffic
                assert time.monotonic() < end, "it was not scraped in time"
                await asyncio.sleep(0.5)
            empty = set()
            for file in DASHBOARDS:
                for title, expression in expressions(file, instance):
                    if not await ask(http, expression) and not any(name in expression for name in ELSEWHERE):
                        empty.add(title)
            (workers,) = await ask(http, f'astra_workers{{instance="{instance}"}}')
    finally:
        scrape_also(None)
        traffic.cancel()
        await asyncio.gather(traffic, return_exceptions=True)
    assert empty <= WITHOUT_DATA, empty - WITHOUT_DATA
    assert workers["value"][1] == "2"


async def use(port: int) -> None:
    """Make links and follow them, for ever."""
    async with Connection(port) as connection:
        while True:
            made = await connection.post("/v1/links", {"url": "https://example.com/"})
            path = "/" + made.json()["code"]
            for _ in range(5):
                assert (await connection.get(path)).status == 302
            await connection.get("/nothing-here")
            await asyncio.sleep(0.05)
