"""Clicks become counts: each once, whatever happens between a segment and the store."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from app.clicks import ClickCounter, traced
from app.clicks.segment import HEADER_SIZE
from astra_core.errors import StoreUnavailable
from astra_core.storage.writes import Forget
from tests.unit.app.clicks.doubles import SEGMENT, Bench, LateStore, Store, crash, fill, until

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from app.clicks import Journal
    from app.clicks.segment import Segment


def record(journal: Journal, clicks: dict[str, int]) -> None:
    """Record clicks, code by code."""
    for code, count in clicks.items():
        for _ in range(count):
            assert journal.record(code.encode())


def advance(work: Coroutine[Any, Any, object], turns: int) -> bool:
    """Run `work` for some turns and then end it as a killed process would be; True when it was through before."""
    try:
        for _ in range(turns):
            work.send(None)
    except StopIteration:
        return True
    work.close()
    return False


def end(segments: Sequence[Segment]) -> None:
    """Let go of the locks that a process held, also of a segment that it was just removing."""
    for segment in segments:
        segment.close()


async def leftovers(bench: Bench) -> list[str]:
    """Positions of segments that are gone, and marks."""
    files = bench.files()
    return [name for name in await bench.store.positions() if name + ".seg" not in files] + [
        name for name in files if name.endswith(".done")
    ]


async def test_what_is_recorded_is_counted_at_once(bench: Bench) -> None:
    """Round by round, also from the segment that is still being written, which stays."""
    journal, counter = await bench.process()
    record(journal, {"aaa": 2, "bbb": 1})
    await counter.count()
    assert await bench.store.visits("aaa", "bbb") == [2, 1]
    record(journal, {"aaa": 1})
    await counter.count()
    await counter.count()
    assert await bench.store.visits("aaa", "bbb") == [3, 1]
    assert (counter.counted, counter.failures) == (4, 0)
    assert len(bench.store.commits) == 2
    assert len(bench.files()) == 2


async def test_the_traces_of_a_batch_stand_round_its_commit(bench: Bench) -> None:
    """Also of one that is read in several slices; a batch without any has nothing round it."""
    entered: list[tuple[bytes, ...]] = []

    @contextmanager
    def span(traces: Sequence[bytes]) -> Iterator[None]:
        before = len(bench.store.commits)
        yield
        assert len(bench.store.commits) == before + 1
        entered.append(tuple(traces))

    journal = bench.journal(size=64 * 1024)
    await bench.store.open()
    await journal.open()
    counter = ClickCounter(journal, bench.store, clock=bench.clock, span=span)
    record(journal, {"aaa": 1})
    await counter.count()
    one, two = bytes(24), bytes(range(24))
    journal.record(traced(b"aaa", one))
    record(journal, {"bbb": 600})
    journal.record(traced(b"aaa", two))
    await counter.count()
    assert entered == [(one, two)]
    assert await bench.store.visits("aaa", "bbb") == [3, 600]


async def test_clicks_that_never_stop_do_not_keep_a_round_going(bench: Bench) -> None:
    """What is recorded during a commit waits for the next round, so that a busy worker commits once a round."""

    class Busy(Store):
        async def commit(self, writes: Any) -> tuple[int, ...]:
            record(journal, {"aaa": 1})
            return await super().commit(writes)

    bench.store = Busy()
    journal, counter = await bench.process()
    record(journal, {"aaa": 5})
    await counter.count()
    assert (len(bench.store.adds), counter.counted) == (1, 5)
    await counter.count()
    assert (len(bench.store.adds), counter.counted) == (2, 6)


async def test_a_sealed_segment_goes_before_its_position_is_forgotten(bench: Bench) -> None:
    """Counted to its end, it is unlinked first; a position forgotten too early would count it again."""
    journal, counter = await bench.process()
    fill(journal, "abc")
    sealed = journal.pending[0]

    class Watching(Store):
        async def commit(self, writes: Any) -> tuple[int, ...]:
            if any(isinstance(write, Forget) for write in writes):
                order.append(sealed.path.exists())
            return await super().commit(writes)

    order: list[bool] = []
    bench.store = counter._store = Watching()
    await bench.store.open()
    await counter.count()
    assert order == [False]
    assert await bench.store.visits("abc") == [journal.recorded]
    assert list(await bench.store.positions()) == [journal.pending[-1].name]


async def test_a_position_that_could_not_be_forgotten_is_forgotten_later(bench: Bench) -> None:
    """The store may be away just then: positions do not pile up."""
    journal, counter = await bench.process()
    fill(journal, "abc")
    sealed = journal.pending[0].name
    work = counter.count()
    while bench.folder.joinpath(sealed + ".seg").exists():
        work.send(None)
    bench.store.away = True
    with pytest.raises(StoreUnavailable):
        await asyncio.create_task(work)
    bench.store.away = False
    assert sealed in await bench.store.positions()
    await counter.count()
    assert sealed not in await bench.store.positions()
    assert journal.removed == []


@pytest.mark.parametrize("later", [0, 3], ids=["idle", "busy"])
async def test_a_crash_at_any_moment_counts_every_click_once(tmp_path: Path, later: int) -> None:
    """The process dies at every point where it awaits, with and without further clicks, and the next one takes over.

    No position is left in the store of a segment that is gone, and no mark in the folder.
    """
    turns, through = 0, False
    while not through:
        turns += 1
        bench = Bench(tmp_path / f"{turns}")
        journal, counter = await bench.process()
        fill(journal, "aaa")
        held = journal.pending
        record(journal, {"bbb": 3})
        through = advance(counter.count(), turns)
        record(journal, {"ccc": later})
        end(held)
        await bench.settle()
        assert await leftovers(bench) == [], turns
        assert await bench.store.visits("aaa", "bbb", "ccc") == [journal.recorded - 3 - later, 3, later], turns
        crash(bench.journals[-1])
    assert turns == 11  # two commits, a removal, a forgetting and an unmarking, each with a turn before and after


async def test_a_crash_while_taking_over_counts_every_click_once(tmp_path: Path) -> None:
    """The heir dies too, wherever it is in adopting, counting, removing and forgetting."""
    turns, through = 0, False
    while not through:
        turns += 1
        bench = Bench(tmp_path / f"{turns}")
        journal, counter = await bench.process()
        fill(journal, "aaa")
        held = journal.pending
        advance(counter.count(), 3)  # the commit is done, its answer on the way
        end(held)
        crash(journal)
        heir, counter = await bench.process()

        async def take_over(counter: Any = counter) -> None:
            await counter.adopt()
            await counter.count()

        held = (*heir.pending, *held)
        through = advance(take_over(), turns)
        end((*heir.pending, *held))
        await bench.settle()
        assert await leftovers(bench) == [], turns
        assert await bench.store.visits("aaa") == [journal.recorded], turns
        crash(bench.journals[-1])
        assert heir.dropped == 0
    assert turns == 14  # a look at the folder, the positions, three removals, a forgetting and an unmarking


async def test_an_owner_that_counts_to_the_last_moment_is_not_counted_again(bench: Bench) -> None:
    """The heir reads positions after the death, not before: what the owner committed in between is in them."""
    owner, counter = await bench.process()
    record(owner, {"aaa": 2})
    _, heir = await bench.process()
    adopting = heir.adopt()
    adopting.send(None)  # it begins to look around
    await counter.count()
    record(owner, {"bbb": 1})
    crash(owner)
    await asyncio.create_task(adopting)
    await heir.count()
    assert await bench.store.visits("aaa", "bbb") == [2, 1]


@pytest.mark.parametrize("lands", ["before", "after"])
async def test_a_commit_that_outlives_its_caller_is_counted_once(tmp_path: Path, lands: str) -> None:
    """A cancelled caller leaves its commit to the store; the same batch goes first the next time, and is skipped."""
    store = LateStore()
    bench = Bench(tmp_path, store)
    journal, counter = await bench.process()
    record(journal, {"aaa": 2})
    counting = asyncio.create_task(counter.count())
    await until(lambda: store.handed)
    counting.cancel()
    await asyncio.wait([counting])
    record(journal, {"aaa": 1, "bbb": 1})
    if lands == "before":
        store.go.set()
        await asyncio.wait(store.handed)
        await counter.count()
    else:
        counting = asyncio.create_task(counter.count())
        await until(lambda: len(store.handed) == 2)
        store.go.set()
        await counting
    assert await store.visits("aaa", "bbb") == [3, 1]
    assert counter.counted == 4


@pytest.mark.parametrize("done", [False, True])
async def test_a_commit_that_failed_is_repeated_as_it_was(bench: Bench, done: bool) -> None:
    """Whether or not the store had done it when it failed, the clicks count once."""

    class Failing(Store):
        failing = True

        async def commit(self, writes: Any) -> tuple[int, ...]:
            if self.failing and not done:
                raise RuntimeError("before")
            results = await super().commit(writes)
            if self.failing:
                raise RuntimeError("after")
            return results

    store = Failing()
    bench.store = store
    journal, counter = await bench.process()
    record(journal, {"aaa": 1})
    with pytest.raises(RuntimeError):
        await counter.count()
    record(journal, {"aaa": 1})
    store.failing = False
    await counter.count()
    assert await store.visits("aaa") == [2]


async def test_events_at_or_below_the_position_are_skipped(bench: Bench) -> None:
    """An adopted segment goes on behind what its owner had counted."""
    journal, counter = await bench.process()
    record(journal, {"aaa": 5})
    await counter.count()
    record(journal, {"bbb": 1})
    crash(journal)
    bench.store.commits.clear()
    _, heir = await bench.process()
    assert await heir.adopt() == 2
    await heir.count()
    assert [add.amounts for add in bench.store.adds] == [{"bbb": 1}]
    assert heir.counted == 1
    assert await bench.store.positions() == {}
    assert len(bench.files()) == 2  # the heir's own two


async def test_a_store_that_is_away_loses_nothing(bench: Bench) -> None:
    """The clicks wait in their segments; adopting waits too."""
    journal, counter = await bench.process()
    record(journal, {"aaa": 2})
    bench.store.away = True
    with pytest.raises(StoreUnavailable):
        await counter.count()
    assert journal.in_use is None
    crash(journal)
    heir_journal, heir = await bench.process()
    with pytest.raises(StoreUnavailable):
        await heir.adopt()
    assert len(heir_journal.pending) == 1
    bench.store.away = False
    await heir.adopt()
    await heir.count()
    assert await bench.store.visits("aaa") == [2]


async def test_a_segment_dropped_meanwhile_is_passed_over(bench: Bench) -> None:
    """Over quota one may go while another is counted: its clicks are lost once, and the round goes on."""
    journal, counter = await bench.process(quota=4 * SEGMENT)
    counts = []
    for code in ("aaa", "bbb"):
        counts.append(fill(journal, code))
        await journal.prepare()
    assert len(journal.pending) == 3
    counting = counter.count()
    counting.send(None)  # the first segment's commit is on its way
    fill(journal, "ccc")
    await journal.prepare()
    assert journal.lost == counts[1] + 1  # the click that made the journal roll is in there too
    await asyncio.create_task(counting)
    assert await bench.store.visits("aaa", "bbb") == [counts[0], 1]
    await counter.count()
    assert counter.counted + journal.lost == journal.recorded


async def test_big_batches_let_the_loop_go(bench: Bench) -> None:
    """Every few hundred events others run; a commit holds a bounded number of codes."""
    journal, counter = await bench.process(size=1 << 20, quota=1 << 22)
    for number in range(6_000):
        journal.record(b"c%04d" % (number % 5_000))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await counter.count()
    task.cancel()
    assert turns >= 6_000 / 500
    assert [len(add.amounts) <= 2_500 for add in bench.store.adds] == [True] * 3
    assert sum(sum(add.amounts.values()) for add in bench.store.adds) == counter.counted == 6_000


async def test_finishing_leaves_neither_segment_nor_position(bench: Bench) -> None:
    """At the end of the process everything is counted, and the segment being written goes like the others."""
    journal, counter = await bench.process()
    fill(journal, "aaa")
    await counter.count()
    record(journal, {"bbb": 2})
    await counter.finish()
    await journal.close()
    assert await bench.store.visits("aaa", "bbb") == [journal.recorded - 2, 2]
    assert bench.files() == []
    assert await bench.store.positions() == {}


async def test_running_adopts_and_counts_in_its_intervals(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Beside the requests it counts every interval, adopts every longer one, and outlives failures."""
    dead, _ = await bench.process()
    record(dead, {"aaa": 1})
    journal, counter = await bench.process()
    task = asyncio.create_task(counter.run())
    record(journal, {"bbb": 1})
    await _rounds(bench, 0.25)
    assert await bench.store.visits("aaa", "bbb") == [0, 1]
    crash(dead)
    bench.store.away = True
    record(journal, {"bbb": 1})
    await _rounds(bench, 1.0)
    assert counter.failures > 0
    assert "clicks wait to be counted" in caplog.text
    bench.store.away = False
    await _rounds(bench, 4.0)
    assert await bench.store.visits("aaa", "bbb") == [1, 2]
    task.cancel()
    await asyncio.wait([task])
    assert HEADER_SIZE not in (await bench.store.positions()).values()


async def _rounds(bench: Bench, seconds: float) -> None:
    for _ in range(int(seconds / 0.25)):
        await bench.clock.run_for(0.25)
        await bench.clock.run_for(0)
        await bench.clock.run_for(0)
