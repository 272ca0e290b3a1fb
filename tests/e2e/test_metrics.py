"""Metrics of several workers, whatever becomes of them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.faults.servers import Data

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.e2e.conftest import Launcher, Process

KILLS = 3
RISING = ("http_requests_total", "http_request_duration_seconds_count", "astra_links_created_total")


def totals(process: Process) -> Mapping[str, float]:
    """Return what the worker that answers says of the whole service; nothing where the one that was asked is gone."""
    try:
        status, page = process.get("/metrics")
    except (OSError, http.client.HTTPException):
        return {}
    assert status == 200
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            if sample.name in RISING and sample.labels.get("handler") != "/metrics":
                key = f"{sample.name}{sorted(sample.labels.items())}"
                found[key] = sample.value
    return found


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_totals_never_fall_when_workers_die(launch: Launcher, tmp_path: Path) -> None:
    """Workers are killed and replaced under traffic: no series of any scrape is below that of the one before."""
    environ = Data(tmp_path).environ(METRICS__FOLDER=str(tmp_path / "metrics"))
    process = launch.serve("--workers", "2", env=environ).ready()
    process.until("2 workers", lambda: len(process.workers()) == 2)
    stop = threading.Event()
    answered: list[int] = []

    def traffic() -> None:
        while not stop.is_set():
            try:
                connection = process.connection()
                body = json.dumps({"url": "https://example.com/"})
                connection.request("POST", "/v1/links", body, {"content-type": "application/json"})
                answered.append(connection.getresponse().status)
                connection.close()
            except (OSError, http.client.HTTPException):
                pass  # it went with its worker

    threads = [threading.Thread(target=traffic) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        last: dict[str, float] = {}
        for _ in range(KILLS):
            for _ in range(10):
                last = _risen(last, totals(process))
            pids = process.workers()
            os.kill(min(pids), signal.SIGKILL)
            for _ in range(10):
                last = _risen(last, totals(process))
            process.until("another worker", lambda pids=pids: len(process.workers() - pids) == 1)  # type: ignore[misc]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    created = next(value for key, value in last.items() if key.startswith("astra_links_created_total"))
    made = answered.count(201)
    assert len(answered) == made
    # What was counted in the second before a kill may be lost, if nobody had seen it; nothing counts twice.
    assert made / 2 < created <= made + KILLS * len(threads)


def _risen(last: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """Return `now` where it says anything; every series that was there is there, and none is lower."""
    if not now:
        return dict(last)
    assert {key: value for key, value in last.items() if now.get(key, -1.0) < value} == {}
    return dict(now)
