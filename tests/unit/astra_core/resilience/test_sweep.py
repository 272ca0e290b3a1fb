"""The shared sweep: who expires when, and what it costs while nothing does."""

from __future__ import annotations

import asyncio
import logging

import pytest

from astra_core.resilience.sweep import Sweep
from astra_core.testing import FakeClock


class Entry:
    """Remembers when it expired."""

    def __init__(self, clock: FakeClock, after: float) -> None:
        self.clock = clock
        self.at = clock.monotonic() + after
        self.expired_at: float | None = None

    def expire(self) -> None:
        """Take the time."""
        self.expired_at = self.clock.monotonic()


async def test_entries_expire_at_their_time_or_up_to_a_grain_later() -> None:
    """Never early, never more than a grain late, in whatever order they came; one that left never expires."""
    clock = FakeClock()
    sweep = Sweep(clock=clock, grain=0.01)
    entries = [Entry(clock, after) for after in (0.5, 0.1, 0.3, 0.101, 0.104, 2.0)]
    for entry in entries:
        sweep.add(entry)
    sweep.remove(entries[2])
    await clock.run_for(3.0)
    for entry in entries[:2] + entries[3:]:
        assert entry.expired_at is not None
        assert entry.at <= entry.expired_at <= entry.at + 0.01 + 1e-9
    assert entries[2].expired_at is None
    assert len(sweep) == 0


async def test_it_looks_once_a_grain_however_many_fall_due() -> None:
    """A hundred entries a millisecond apart are found in about ten looks."""
    clock = FakeClock()
    sweep = Sweep(clock=clock, grain=0.01)
    entries = [Entry(clock, 1.0 + number / 1_000) for number in range(100)]
    for entry in entries:
        sweep.add(entry)
    await clock.run_for(2.0)
    assert 9 <= len({entry.expired_at for entry in entries}) <= 11


async def test_entries_that_leave_in_time_cost_one_look_a_budget() -> None:
    """A thousand entries of five seconds that each leave at once wake the task once, and then it ends."""
    clock = FakeClock()
    sweep = Sweep(clock=clock, grain=0.01)
    for _ in range(1_000):
        entry = Entry(clock, 5.0)
        sweep.add(entry)
        sweep.remove(entry)
        await clock.run_for(0.001)
    assert clock.sleepers == 1
    await clock.run_for(10.0)
    assert clock.sleepers == 0


async def test_an_entry_that_fails_to_expire_spares_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; those of the same look and later ones expire."""
    clock = FakeClock()
    sweep = Sweep(clock=clock)

    class Broken(Entry):
        def expire(self) -> None:
            """Take the time."""
            raise ZeroDivisionError

    same, later = Entry(clock, 1.0), Entry(clock, 2.0)
    for entry in (Broken(clock, 1.0), same, later):
        sweep.add(entry)
    with caplog.at_level(logging.ERROR):
        await clock.run_for(3.0)
    assert same.expired_at is not None
    assert later.expired_at is not None
    assert "could not expire" in caplog.text


def test_a_sweep_outlives_its_loop() -> None:
    """A loop that ended with entries in it leaves a sweep that works in the next one."""
    sweep = Sweep(grain=0.001)

    class Now:
        def __init__(self) -> None:
            self.at = 0.0
            self.gone = asyncio.get_running_loop().create_future()

        def expire(self) -> None:
            """Take the time."""
            self.gone.set_result(True)

    async def leave_one() -> None:
        entry = Now()
        entry.at = sweep.now() + 0.01
        sweep.add(entry)

    async def expire_one() -> bool:
        entry = Now()
        entry.at = sweep.now() + 0.02
        sweep.add(entry)
        return bool(await asyncio.wait_for(entry.gone, 5))

    asyncio.run(leave_one())
    sweep.entries.clear()
    assert asyncio.run(expire_one())


def test_a_grain_is_a_time() -> None:
    """A sweep that looked all the time is refused."""
    with pytest.raises(ValueError, match="grain"):
        Sweep(grain=0)
