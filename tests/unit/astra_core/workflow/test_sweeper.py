"""Timers that somebody fires: late, twice, by several, after a restart, and past what cannot be stepped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from astra_core.errors import CommitConflict, StoreUnavailable
from astra_core.events import InstanceStuck, TimerFired
from astra_core.resilience import Constant
from astra_core.storage import Insert, Query, Require
from astra_core.workflow import RecordKeeper, Runner, Sweeper
from tests.unit.astra_core.workflow.parcels import PARCEL, Load, Parcel, ParcelEvent, Pay, Weight, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from astra_core.storage import StoreEngine
    from astra_core.testing import FakeClock
    from astra_core.workflow import Loaded

Parcels = Runner[Parcel, ParcelEvent, int, Weight]


async def states(parcels: Parcels, keys: list[str]) -> list[Parcel]:
    """Return where they stand."""
    found = [await parcels.get(key) for key in keys]
    return [instance.state for instance in found if instance is not None]


async def test_what_is_due_fires_and_nothing_else(parcels: Parcels, store: StoreEngine, clock: FakeClock) -> None:
    """A round steps the instances whose timers are due, a bounded number, the longest due first."""
    for number in range(5):
        await parcels.begin(f"p{number}", Weight(70))
        clock.advance(1)
    clock.advance(27)
    sweeper = Sweeper(parcels, store, clock=clock, batch=2)
    assert await sweeper.round() == 2
    assert await states(parcels, ["p0", "p1", "p2", "p3"]) == [Parcel.RETURNED] * 2 + [Parcel.PACKED] * 2
    assert await sweeper.round() == 1
    assert await states(parcels, ["p2", "p3", "p4"]) == [Parcel.RETURNED] + [Parcel.PACKED] * 2
    assert await sweeper.round() == 0


async def test_timers_survive_a_restart(tmp_path: Path, clock: FakeClock, told: list[object]) -> None:
    """They are in the record: another process finds them, late, and fires them as of when they were due."""
    async with open_store("sqlite", tmp_path) as store:
        parcels = Runner(PARCEL, store, clock=clock)
        await parcels.begin("p", Weight(70))
        await parcels.send("p", Pay(cents=70))
        await parcels.send("p", Load())
    clock.advance(86_400)
    async with open_store("sqlite", tmp_path) as store:
        parcels = Runner(PARCEL, store, clock=clock, listeners=told.append)
        assert await Sweeper(parcels, store, clock=clock).round() == 1
        assert await states(parcels, ["p"]) == [Parcel.LOST]
        assert (await parcels.history("p"))[-1].at == 1_050_000_000
    assert told == [TimerFired("parcel", "Lose", "taken", 86_350.0)]


async def test_several_sweepers_at_once_fire_each_timer_once(store: StoreEngine, clock: FakeClock) -> None:
    """They do each other's work twice, and nothing of it shows in a history or in the outbox."""
    runners = [Runner(PARCEL, store, clock=clock) for _ in range(4)]
    keys = [f"p{number}" for number in range(20)]
    for key in keys:
        await runners[0].begin(key, Weight(70))
    clock.advance(30)
    before = await store.waiting()
    await asyncio.gather(*(Sweeper(runner, store, clock=clock).round() for runner in runners))
    assert await states(runners[0], keys) == [Parcel.RETURNED] * 20
    assert [len(await runners[0].history(key)) for key in keys] == [2] * 20
    assert await store.waiting() - before == 20


async def test_an_instance_that_is_stuck_holds_nobody_up(
    store: StoreEngine, clock: FakeClock, told: list[object]
) -> None:
    """It is told each time it is tried, ever more seldom; those behind it fire."""
    parcels = Runner(PARCEL, store, clock=clock, keeper=Broken(PARCEL, store))
    for key in ("a broken", "b", "c"):
        await parcels.begin(key, Weight(70))
    clock.advance(30)
    sweeper = Sweeper(parcels, store, batch=1, clock=clock, listeners=told.append)
    for _ in range(10):
        await sweeper.round()
    assert await states(parcels, ["b", "c"]) == [Parcel.RETURNED] * 2
    assert told == [InstanceStuck("parcel", "RuntimeError")]
    for _ in range(100):
        clock.advance(1)
        await sweeper.round()
        await sweeper.round()
    assert len(told) == 1 + 6  # after 1, 2, 4, 8, 16 and 32 seconds


async def test_a_store_that_is_away_ends_the_round(store: StoreEngine, clock: FakeClock, told: list[object]) -> None:
    """The round is not done, and goes on from where it was; no instance is blamed."""
    keeper = Broken(PARCEL, store)
    parcels = Runner(PARCEL, store, clock=clock, keeper=keeper)
    await parcels.begin("p", Weight(70))
    clock.advance(30)
    keeper.away = True
    sweeper = Sweeper(parcels, store, clock=clock, listeners=told.append)
    with pytest.raises(StoreUnavailable):
        await sweeper.round()
    keeper.away = False
    assert await sweeper.round() == 1
    assert told == []


async def test_it_runs_until_cancelled(store: StoreEngine, clock: FakeClock) -> None:
    """It waits for a store that is away, and fires what falls due while it runs."""
    keeper = Broken(PARCEL, store)
    parcels = Runner(PARCEL, store, clock=clock, keeper=keeper)
    await parcels.begin("p", Weight(70))
    keeper.away = True
    sweeper = Sweeper(parcels, store, clock=clock, backoff=Constant(5.0))
    running = asyncio.create_task(sweeper.run())
    for second in range(100):
        clock.advance(1)
        await asyncio.sleep(0.002)
        keeper.away = second < 50
    assert await states(parcels, ["p"]) == [Parcel.RETURNED]
    running.cancel()
    await asyncio.wait((running,))


async def test_a_stale_owner_fires_nothing_and_ends(
    parcels: Parcels, store: StoreEngine, clock: FakeClock, told: list[object]
) -> None:
    """The fence of a key is part of each commit; the first that fell ends the run, and no instance is blamed."""
    keys = ["p", "q", "r"]
    for key in keys:
        await parcels.begin(key, Weight(70))
    told.clear()
    clock.advance(30)
    fence = Require(collection="fences", key="f", version=1)
    sweeper = Sweeper(parcels, store, at_once=1, clock=clock, fence=lambda key: [fence], listeners=told.append)
    for sweep in (sweeper.round, sweeper.run):
        with pytest.raises(CommitConflict) as caught:
            await sweep()
        assert caught.value.key == "f"
    assert await states(parcels, keys) == [Parcel.PACKED] * 3
    assert told == []
    await store.commit([Insert(collection="fences", key="f", value=b"")])
    await sweeper.round()
    assert await states(parcels, keys) == [Parcel.RETURNED] * 3


async def test_an_instance_that_is_always_overtaken_is_stuck(
    store: StoreEngine, clock: FakeClock, told: list[object]
) -> None:
    """A conflict of its own record is not the fence's."""
    parcels = Runner(PARCEL, store, clock=clock, keeper=Overtaken(PARCEL, store), tries=1)
    await parcels.begin("p", Weight(70))
    clock.advance(30)
    await store.commit([Insert(collection="fences", key="f", value=b"")])
    fence = Require(collection="fences", key="f", version=1)
    await Sweeper(parcels, store, clock=clock, fence=lambda key: [fence], listeners=told.append).round()
    assert told == [InstanceStuck("parcel", "CommitConflict")]


async def test_ids_are_forgotten_in_time(parcels: Parcels, store: StoreEngine, clock: FakeClock) -> None:
    """A duplicate is known for as long as the workflow says, and the collection of ids does not grow for ever."""
    await parcels.begin("p", Weight(70), state=Parcel.PACKED)
    await parcels.send("p", Pay(cents=1), id="old")
    sweeper = Sweeper(parcels, store, clock=clock)
    clock.advance(29)
    await sweeper.round()
    assert (await parcels.send("p", Pay(cents=1), id="old")).duplicate
    clock.advance(PARCEL.remember)
    await sweeper.round()
    again = await parcels.send("p", Pay(cents=1), id="old")
    assert not again.duplicate


async def test_a_sweeper_keeps_up_with_ids(parcels: Parcels, store: StoreEngine, clock: FakeClock) -> None:
    """While there is more to forget than a round may, it does not rest between rounds."""
    await parcels.begin("p", Weight(1_000), state=Parcel.PACKED)
    for number in range(10):
        await parcels.send("p", Pay(cents=1), id=str(number))
    clock.advance(2 * PARCEL.remember)
    running = asyncio.create_task(Sweeper(parcels, store, batch=2, clock=clock).run())
    for _ in range(1_000):
        await asyncio.sleep(0.001)
        clock.advance(0.000_001)
        if not (await store.find(Query(collection=PARCEL.seen.name, index="at"))).records:
            break
    else:
        raise AssertionError("ids are left")
    running.cancel()
    await asyncio.wait((running,))


class Overtaken(RecordKeeper[Parcel, Weight]):
    """A keeper whose records are changed by somebody else after each reading."""

    async def load(self, key: str) -> Loaded[Parcel, Weight] | None:
        """Read it, and touch it."""
        loaded = await super().load(key)
        if loaded is not None:
            await self._store.commit(self.writes(key, loaded, loaded.kept))
        return loaded


class Broken(RecordKeeper[Parcel, Weight]):
    """A keeper that cannot read some keys, and at times none."""

    away = False

    async def load(self, key: str) -> Loaded[Parcel, Weight] | None:
        """Read, or fail."""
        if self.away:
            raise StoreUnavailable("away")
        if "broken" in key:
            raise RuntimeError(key)
        return await super().load(key)
