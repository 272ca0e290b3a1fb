"""An import in the loop of a server: others have a turn every few milliseconds, orders are heard in a second."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from app.api import draft_of_row, report_of
from app.imports import ImportState, Pause
from astra_core.testing import FakeClock
from tests.unit.app.service.importing_bench import Bench, urls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from app.imports import Import, Row
    from app.service import Draft, Outcome
    from astra_core.errors import AstraError

TICK = 0.0005
BLANK = 10_000


class TickingClock(FakeClock):
    """Every look at it takes half a millisecond."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point."""
        self.advance(TICK)
        return super().monotonic()


@dataclass
class TickingBench(Bench):
    """One whose work takes time."""

    clock: TickingClock = field(default_factory=TickingClock)


@pytest.fixture
async def bench(tmp_path: Path) -> TickingBench:
    """An opened one."""
    bench = TickingBench(tmp_path)
    await bench.store.open()
    await bench.codes.open()
    return bench


async def longest_wait(clock: FakeClock) -> float:
    """Return how long others of the loop had to wait for their turn, at the worst; ends when it is cancelled."""
    longest, before = 0.0, clock.time()
    try:
        while True:
            await asyncio.sleep(0)
            longest, before = max(longest, clock.time() - before), clock.time()
    except asyncio.CancelledError:
        return longest


async def test_no_step_of_an_import_keeps_others_waiting(bench: TickingBench) -> None:
    """Neither rows, nor what is made of many of them at once, nor blank lines; though each takes its time."""

    def draft(row: Row, via: str) -> Draft | AstraError:
        bench.clock.advance(0.002)
        return draft_of_row(row, via)

    def report(about: Import, rows: Sequence[Row], outcomes: Sequence[Outcome]) -> bytes:
        bench.clock.advance(0.0005 * len(rows))
        return report_of(about, rows, outcomes)

    importer = bench.importer("slow", draft=draft, report=report, most=1_000)
    key = await bench.begin(urls(300), behind=b"\n" * BLANK)
    waiting = asyncio.create_task(longest_wait(bench.clock))
    await asyncio.sleep(0)
    assert await importer.work()
    waiting.cancel()
    assert await waiting < 0.025
    await bench.check(key, 300)


@pytest.mark.parametrize("running", [False, True])
async def test_a_pause_is_heard_while_there_is_no_row(bench: TickingBench, running: bool) -> None:
    """Blank lines without an end are not read to their end: neither before rows are made nor after."""
    key = await bench.begin(urls(5), behind=b"\n" * BLANK)

    async def pause() -> None:
        while running and (await bench.imports.get(key)).state is not ImportState.RUNNING:  # noqa: ASYNC110
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        paused.append(bench.clock.time())
        await bench.imports.send(key, Pause())

    paused: list[float] = []
    pausing = asyncio.create_task(pause())
    assert await bench.first.work()
    await pausing
    found = await bench.imports.get(key)
    assert (found.state, found.about.rows is not None) == (ImportState.PAUSED, running)
    assert bench.clock.time() - paused[0] < 1.5  # the blank lines take ten
