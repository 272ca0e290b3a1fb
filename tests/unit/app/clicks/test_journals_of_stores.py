"""Journals of several stores in one folder: each counts, adopts and drops its own clicks alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.clicks import ClickCounter
from tests.unit.app.clicks.doubles import SEGMENT, Bench, crash, fill

if TYPE_CHECKING:
    from pathlib import Path

    from app.clicks import Journal


async def started(bench: Bench, own: str, *, heir: bool = True, quota: int = 100 * SEGMENT) -> Journal:
    """Start a process of a store: its journal is open."""
    await bench.store.open()
    journal = bench.journal(quota=quota)
    await journal.open(own, heir=heir)
    return journal


def files(folder: Path) -> set[str]:
    """The files in a folder, without what lies deeper."""
    return {path.name for path in folder.iterdir() if path.is_file()}


async def counted(bench: Bench, journal: Journal) -> list[int]:
    """Adopt and count; returns the visits of `old` and `new`."""
    counter = ClickCounter(journal, bench.store, clock=bench.clock)
    await counter.adopt()
    await counter.count()
    return await bench.store.visits("old", "new")


async def test_segments_of_a_killed_process_wait_for_one_of_their_store(bench: Bench) -> None:
    """A process of another store neither counts nor removes them; the next one of their own counts each click once."""
    other = Bench(bench.folder)
    killed = await started(bench, "mine")
    for _ in range(5):
        killed.record(b"new")
    crash(killed)
    left = files(bench.folder / "mine")
    assert left
    stranger = await started(other, "another")
    assert await counted(other, stranger) == [0, 0]
    assert files(bench.folder / "mine") == left
    assert await counted(bench, await started(bench, "mine")) == [0, 5]
    crash(stranger)


async def test_the_quota_is_that_of_a_store(bench: Bench) -> None:
    """What another store has in the folder takes no room from this one, and is not dropped for it."""
    other = Bench(bench.folder)
    full = await started(other, "another", quota=2 * SEGMENT)
    fill(full, "old")
    journal = await started(bench, "mine", quota=2 * SEGMENT)
    assert journal.has_room
    assert journal.record(b"new")
    await journal.sync()
    assert (journal.bytes, full.lost) == (2 * SEGMENT, 0)
    crash(full)


async def test_segments_of_older_versions_are_still_adopted(bench: Bench) -> None:
    """They lie in the shared folder and do not say whose they are; nothing of them or of their marks stays behind."""
    old = await started(bench, "")
    for _ in range(3):
        old.record(b"old")
    crash(old)
    journal = await started(bench, "mine")
    journal.record(b"new")
    assert await counted(bench, journal) == [3, 1]
    assert files(bench.folder) == set()
    assert await counted(bench, journal) == [3, 1]


async def test_a_store_that_passes_does_not_take_what_older_versions_left(bench: Bench) -> None:
    """Their clicks would be gone with it."""
    old = await started(bench, "")
    old.record(b"old")
    crash(old)
    left = files(bench.folder)
    other = Bench(bench.folder)
    passing = await started(other, "memory", heir=False)
    assert await counted(other, passing) == [0, 0]
    assert files(bench.folder) == left
    crash(passing)
