"""The clock moved by hand."""

from __future__ import annotations

import asyncio

import pytest

from astra_core.testing import FakeClock


async def test_nothing_moves_until_the_clock_is_moved() -> None:
    """Sleepers wake when their time has come, earliest first, and both clocks move alike."""
    clock, woken = FakeClock(monotonic=10.0, time=100.0), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (3, 1, 2)]
    await asyncio.sleep(0)
    assert clock.sleepers == 3
    clock.advance(2)
    await asyncio.sleep(0)
    assert woken == [1, 2]
    assert (clock.monotonic(), clock.time()) == (12.0, 102.0)
    clock.advance(1)
    await asyncio.gather(*tasks)
    assert woken == [1, 2, 3]


async def test_a_loop_that_sleeps_again_is_woken_each_time() -> None:
    """`run_for` stops at every sleeper's time, so a periodic task runs as often as it would."""
    clock, at = FakeClock(monotonic=0.0), []

    async def periodic() -> None:
        while True:
            await clock.sleep(1)
            at.append(clock.monotonic())

    task = asyncio.create_task(periodic())
    await clock.run_for(3.5)
    task.cancel()
    assert at == [1.0, 2.0, 3.0]
    assert clock.monotonic() == 3.5


async def test_a_sleeper_may_be_cancelled() -> None:
    """A cancelled sleeper is forgotten, and sleeping for nothing only yields."""
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(5))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert clock.sleepers == 0
    clock.advance(10)
    await clock.sleep(0)


def test_the_wall_clock_may_be_stepped_and_time_does_not_go_back() -> None:
    """`step` moves wall time alone; `advance` refuses to go back."""
    clock = FakeClock(monotonic=0.0, time=50.0)
    clock.step(-20)
    assert (clock.monotonic(), clock.time()) == (0.0, 30.0)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
