"""A server process has imports carried out by a worker of its own, whatever keeps that from starting."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from app.main.embedding import EmbeddedWorker
from astra_core.coordination import Leadership, MemoryCoordination
from astra_core.testing import FakeClock
from tests.unit.app.service.importing_bench import Bench, urls

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_a_worker_that_cannot_be_started_is_one_line_a_try(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again after the pauses of one that died, by the same holder of the lease."""
    bench, clock = Bench(tmp_path), FakeClock()
    async with bench.store, MemoryCoordination(clock=clock) as leases:
        await bench.codes.open()
        await bench.begin(urls())
        embedded = EmbeddedWorker(bench.imports, clock=clock, command=["/nowhere/python"])
        leadership = Leadership(leases, "imports", ttl=5.0, clock=clock)
        leading = asyncio.create_task(leadership.run(embedded.lead))
        for seconds in (0.5, 1.0, 2.0):
            async with asyncio.timeout(5):
                while not caplog.records:  # noqa: ASYNC110 - a process is being started meanwhile
                    await asyncio.sleep(0.01)
            (record,) = caplog.records
            assert record.levelno == logging.WARNING
            assert record.getMessage() == (
                "the worker of imports could not be started: [Errno 2] No such file or directory: '/nowhere/python'; "
                f"starting another in {seconds:.1f} s"
            )
            caplog.clear()
            await clock.run_for(seconds)
        assert (leadership.terms, embedded.starts) == (1, 0)
        leading.cancel()
        await asyncio.wait((leading,))
