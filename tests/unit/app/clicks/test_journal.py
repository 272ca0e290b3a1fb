"""The journal of one worker: segments come and go, and no trouble of the disk reaches the one who records."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from app.clicks.marks import mark
from app.clicks.segment import HEADER_SIZE, Segment
from astra_core.errors import StoreUnavailable
from astra_core.keyed import BlockingPool
from tests.unit.app.clicks.doubles import SEGMENT, InlinePool, SlowPool, crash, fill, no_room, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from app.clicks import Journal
    from tests.unit.app.clicks.doubles import Bench


async def nowhere() -> Mapping[str, int]:
    """Return no positions."""
    return {}


def has_room(journal: Journal) -> bool:
    """Ask the journal; a call, since a type checker takes an attribute for what it was."""
    return journal.has_room


def stored(journal: Journal) -> int:
    """Return how many events can be read from what is pending."""
    return sum(segment.read(HEADER_SIZE, limit=1 << 20).events for segment in journal.pending)


async def test_a_full_segment_is_sealed_and_the_spare_takes_over(bench: Bench) -> None:
    """Rolling happens within one `record`, loses nothing, and asks for the next spare."""
    journal = bench.journal()
    await journal.open()
    assert len(bench.files()) == 2
    first = journal.pending[-1]
    assert not journal.is_sealed(first)
    count = fill(journal, "abc")
    assert journal.is_sealed(first)
    assert journal.pending[0] is first
    assert journal.recorded == stored(journal) == count + 1
    await journal.prepare()
    fill(journal, "abc")
    assert len(journal.pending) == 3
    assert (journal.recorded, journal.dropped, journal.lost) == (stored(journal), 0, 0)


async def test_it_says_how_long_clicks_wait_and_how_much_room_they_take(bench: Bench) -> None:
    """The age of the oldest that is not counted, 0 when all are; and the bytes of the folder at the last sync."""
    journal, counter = await bench.process()
    assert journal.age == 0.0
    journal.record(b"aaa")
    bench.clock.advance(7.0)
    journal.record(b"bbb")
    assert journal.age == pytest.approx(7.0)
    await counter.count()
    assert journal.age == 0.0
    await journal.sync()
    assert journal.bytes == 2 * SEGMENT


async def test_without_a_spare_clicks_are_dropped_and_counted(bench: Bench) -> None:
    """`record` answers False and never raises; when a spare comes, clicks are stored again."""
    journal = bench.journal()
    await journal.open()
    fill(journal, "abc")
    while journal.record(b"abc"):
        pass
    assert journal.dropped == 1
    assert not journal.record(b"abc")
    assert (journal.dropped, journal.recorded) == (2, stored(journal))
    await journal.prepare()
    assert journal.record(b"abc")
    assert journal.recorded == stored(journal)


async def test_a_disk_that_refuses_is_told_once_and_tried_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The journal opens and drops; it logs one line, says that it has no room, and goes on when there is some."""
    journal = bench.journal()
    with no_room():
        await journal.open()
        assert not journal.record(b"abc")
        for _ in range(3):
            await journal.prepare()
    assert not has_room(journal)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert bench.files() == []
    await journal.prepare()
    assert has_room(journal)
    assert journal.record(b"abc")
    assert (journal.recorded, journal.dropped) == (1, 1)


async def test_a_sync_that_fails_is_told_once_and_shown_until_one_succeeds(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator should know that a power cut would take more than promised; clicks go on being stored."""

    class FailingDisk(InlinePool):
        fails = True
        refusals = 0

        async def run(self, call: Callable[..., Any], *args: Any, deadline: float | None = None) -> Any:
            if self.fails and getattr(call, "__name__", "") == "sync":
                self.refusals += 1
                raise OSError(errno.EIO, "input/output error")
            return await super().run(call, *args)

    pool = FailingDisk()
    journal = bench.journal(pool=pool, sync_interval=0.004)
    await journal.open()
    keeping = asyncio.create_task(journal.keep())
    try:
        await asyncio.sleep(0)
        bench.clock.advance(1)
        await until(lambda: journal.sync_failed)
        bench.clock.advance(1)
        await until(lambda: pool.refusals == 2)
        assert journal.record(b"abc")
        assert len(caplog.records) == 1
        pool.fails = False
        bench.clock.advance(1)
        await until(lambda: not journal.sync_failed)
    finally:
        keeping.cancel()


async def test_a_disk_that_fills_up_keeps_what_is_there(bench: Bench) -> None:
    """Room is gone as soon as no spare can be made; what is stored goes on being readable."""
    journal = bench.journal()
    await journal.open()
    count = fill(journal, "abc")
    with no_room():
        await journal.prepare()
        assert not has_room(journal)
        while journal.record(b"abc"):
            pass
    assert stored(journal) == journal.recorded > count + 1


async def test_over_quota_the_oldest_whole_segment_goes(bench: Bench) -> None:
    """Its uncounted events are counted as lost, the folder stays within the quota, and newer segments stay."""
    journal = bench.journal(quota=4 * SEGMENT)
    await journal.open()
    counts = []
    for code in ("aaa", "bbb", "ccc", "ddd"):
        counts.append(fill(journal, code))
        await journal.prepare()
        assert sum((bench.folder / name).stat().st_size for name in bench.files()) <= 4 * SEGMENT
    assert journal.lost == counts[0] + counts[1] + 1  # and the click that went into the second
    kept = [set(segment.read(HEADER_SIZE, limit=99).visits) for segment in journal.pending]
    assert kept == [{"bbb", "ccc"}, {"ccc", "ddd"}, {"ddd"}]
    assert journal.removed == []  # the store never had a position for them
    assert journal.recorded == stored(journal) + journal.lost


async def test_over_quota_only_what_was_not_counted_is_lost(bench: Bench) -> None:
    """Events behind the position are in the store already; the position itself may then be forgotten."""
    journal = bench.journal(quota=3 * SEGMENT)
    await journal.open()
    count = fill(journal, "aaa")
    first = journal.pending[0]
    first.applied = first.read(HEADER_SIZE, limit=5).position
    await journal.prepare()
    fill(journal, "bbb")
    await journal.prepare()
    assert journal.lost == count - 5
    assert journal.removed == [first.name]


async def test_a_mark_beside_its_segment_says_nothing(bench: Bench) -> None:
    """Its maker ended between marking and unlinking: the segment is adopted at its position, which is kept."""
    journal = bench.journal()
    await journal.open()
    segment = journal.pending[-1]
    assert journal.record(b"abc")
    mark(bench.folder, segment.name)
    crash(journal)
    other = bench.journal()
    await other.open()

    async def positions() -> dict[str, int]:
        return {segment.name: segment.end}

    await other.adopt(positions)
    assert other.removed == []
    (adopted,) = [one for one in other.pending if one.name == segment.name]
    assert adopted.applied == segment.end
    await other.remove(adopted)
    assert other.removed == [segment.name]


async def test_the_segment_in_use_is_not_dropped(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A reader keeps its segment; with nothing else to drop, clicks are, and that is told once."""
    journal = bench.journal(quota=2 * SEGMENT)
    await journal.open()
    fill(journal, "aaa")
    journal.in_use = journal.pending[0]
    for _ in range(3):
        await journal.prepare()
    assert not has_room(journal)
    assert len(caplog.records) == 1
    assert len(journal.pending) == 2
    while journal.record(b"bbb"):
        pass
    assert (journal.dropped, journal.lost) == (1, 0)
    journal.in_use = None
    await journal.prepare()
    assert has_room(journal)
    assert journal.record(b"ccc")


async def test_a_smaller_quota_than_before_drops_until_it_fits(bench: Bench) -> None:
    """One dropped segment need not be room enough: they may be shorter than a new one."""
    old = bench.journal()
    await old.open()
    for code in ("aaa", "bbb", "ccc"):
        fill(old, code)
        await old.prepare()
    crash(old)
    journal = bench.journal(size=4 * SEGMENT, quota=9 * SEGMENT)
    assert await _adopt(journal) == 5
    await journal.open()
    sizes = [(bench.folder / name).stat().st_size for name in bench.files()]
    assert sum(sizes) <= 9 * SEGMENT
    assert sizes.count(4 * SEGMENT) == 2


async def test_orphans_are_adopted_oldest_first_each_at_its_position(bench: Bench) -> None:
    """They stand before what is being written, in the order in which they were made."""
    orphans = []
    for code in ("aaa", "bbb"):
        dead = bench.journal()
        await dead.open()
        fill(dead, code)
        orphans.append([segment.name for segment in dead.pending])
        crash(dead)
        bench.clock.step(-10)
    journal = bench.journal()
    await journal.open()
    position = HEADER_SIZE + 17

    async def positions() -> Mapping[str, int]:
        return {orphans[1][0]: position}

    assert await journal.adopt(positions) == 4
    assert [{segment.name for segment in journal.pending[place : place + 2]} for place in (0, 2)] == [
        set(names) for names in reversed(orphans)
    ]
    assert {s.name: s.applied for s in journal.pending if s.applied != HEADER_SIZE} == {orphans[1][0]: position}
    assert not journal.is_sealed(journal.pending[-1])
    assert await journal.adopt(positions) == 0


async def test_positions_are_read_with_the_locks_in_hand(bench: Bench) -> None:
    """An owner that lived when they were read could still move one; without orphans nobody asks."""
    asked: list[bool] = []
    owner = bench.journal()
    await owner.open()
    owner.record(b"abc")
    paths = [segment.path for segment in owner.pending]

    async def positions() -> Mapping[str, int]:
        asked.append(all(Segment.adopt(path) is None for path in paths))
        return {}

    journal = bench.journal()
    assert await journal.adopt(positions) == 0
    assert asked == []
    crash(owner)
    assert await journal.adopt(positions) == 2
    assert asked == [True]


async def test_orphans_whose_positions_are_not_known_wait(bench: Bench) -> None:
    """With the store away they do not become pending, and are adopted when it is back."""
    dead = bench.journal()
    await dead.open()
    crash(dead)
    journal = bench.journal()

    async def away() -> Mapping[str, int]:
        raise StoreUnavailable("away")

    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await journal.adopt(away)
        assert journal.pending == ()
    assert await _adopt(journal) == 2


async def test_one_bad_file_does_not_keep_the_others(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It is told once and left alone."""
    dead = bench.journal()
    await dead.open()
    crash(dead)
    (bench.folder / "0.seg").mkdir()
    journal = bench.journal()
    assert await _adopt(journal) == 2
    assert await _adopt(journal) == 0
    assert len(caplog.records) == 1


async def test_what_a_crashed_creator_left_is_swept_in_time(bench: Bench) -> None:
    """Adopting removes segments that were never born, once they are a minute old; they do not accumulate."""
    bench.folder.mkdir()
    for age in (30, 90):
        path = bench.folder / f"{age}.new"
        path.write_bytes(b"\0" * SEGMENT)
        at = bench.clock.time() - age
        os.utime(path, (at, at))
    journal = bench.journal()
    assert await _adopt(journal) == 0
    assert bench.files() == ["30.new"]
    bench.clock.advance(60)
    await _adopt(journal)
    assert bench.files() == []


async def test_what_the_pool_did_too_late_is_not_lost(bench: Bench) -> None:
    """A segment made, or locked, for a caller who had given up is there for the next one."""
    bench.folder.mkdir()
    slow = bench.journal(pool=SlowPool())
    with pytest.raises(TimeoutError):
        await slow._in_pool(slow._create)
    assert len(bench.files()) == 1
    slow._pool = bench.journal()._pool
    await slow.open()
    assert len(bench.files()) == 2
    crash(slow)

    heir = bench.journal(pool=SlowPool())
    with pytest.raises(TimeoutError):
        await heir.adopt(nowhere)
    heir._pool = bench.journal()._pool
    assert await heir.adopt(nowhere) == 2


async def test_close_leaves_what_was_not_counted(bench: Bench) -> None:
    """A counted segment and the spare are removed, the other is free for the next process, its lock let go."""
    journal = bench.journal()
    await journal.open()
    fill(journal, "aaa")
    await journal.prepare()
    counted, current = journal.pending
    counted.applied = counted.end
    await journal.close()
    assert bench.files() == [counted.name + ".done", current.path.name]  # its position is still to be forgotten
    assert journal.pending == ()
    assert not has_room(journal)
    assert not journal.record(b"abc")
    heir = bench.journal()
    assert await _adopt(heir) == 1
    assert stored(heir) == 1


async def test_close_lets_go_of_everything_even_if_one_file_resists(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """One that cannot be removed is told, and the rest is closed."""
    journal = bench.journal()
    await journal.open()
    journal.record(b"abc")
    current, spare = journal.pending[0], journal._spare
    assert spare is not None
    spare.path.unlink()
    spare.path.mkdir()
    await journal.close()
    assert len(caplog.records) == 1
    heir = Segment.adopt(current.path)
    assert heir is not None
    heir.close()


async def test_sealing_ends_the_current_segment(bench: Bench) -> None:
    """The next click opens the spare."""
    journal = bench.journal()
    await journal.open()
    journal.record(b"abc")
    first = journal.pending[0]
    journal.seal()
    journal.seal()
    assert journal.is_sealed(first)
    assert journal.pending == (first,)
    assert journal.record(b"abc")
    assert len(journal.pending) == 2


async def test_keeping_makes_spares_and_syncs(bench: Bench) -> None:
    """Beside the requests a spare is made as soon as one was used, in a real pool of one thread."""
    pool = BlockingPool("journal", threads=1, queue=100, clock=bench.clock)
    journal = bench.journal(pool=pool, sync_interval=3600.0)
    await journal.open()
    task = asyncio.create_task(journal.keep())
    for rolls in range(2, 5):
        fill(journal, "abc")
        await until(lambda: journal._spare)
        assert len(journal.pending) == rolls
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await journal.sync()
    assert journal.dropped == 0
    await journal.close()
    await pool.close()


async def test_keeping_survives_a_failure(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong once is logged, and the next round tries again."""
    journal = bench.journal(pool=SlowPool(), sync_interval=0.004)
    bench.folder.mkdir()
    task = asyncio.create_task(journal.keep())
    await until(lambda: caplog.records)
    journal._pool = bench.journal()._pool
    await until(lambda: journal._spare)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert "journal" in repr(journal)


async def _adopt(journal: Journal) -> int:
    return await journal.adopt(nowhere)
