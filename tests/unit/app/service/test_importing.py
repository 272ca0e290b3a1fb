"""Imports carried out over a store that loses answers, is overtaken, or has the codes already: each row counts once."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from typing import TYPE_CHECKING

import pytest

from app.codes import SYSTEM, CodeFactory
from app.domain import Link
from app.imports import Cancel, ImportState, Pause, Resume, Take, UnknownImport
from astra_core.errors import CommitInDoubt, StoreUnavailable
from tests.unit.app.service.importing_bench import ROWS, SLICE, Bench, Slices, urls

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    """An opened one."""
    bench = Bench(tmp_path)
    await bench.store.open()
    await bench.codes.open()
    return bench


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), CommitInDoubt("no answer")])
async def test_a_slice_whose_answer_is_lost_is_neither_lost_nor_doubled(bench: Bench, failure: Exception) -> None:
    """The next try takes the import anew and reads how far it has come: whether the commit happened is not guessed."""
    key = await bench.begin(urls())
    bench.store.failures = {1: failure, 4: failure, 5: failure, 10: failure}
    failed = 0
    while (await bench.imports.get(key)).state is not ImportState.DONE:
        try:
            await bench.first.work()
        except StoreUnavailable:
            failed += 1
    assert failed == 4
    assert (await bench.check(key)).progress.created == ROWS


async def test_a_worker_that_was_overtaken_writes_nothing(bench: Bench) -> None:
    """Another one takes the import while the first holds a slice in hand: that slice is refused, and made once."""
    key = await bench.begin(urls())
    bench.store.rivals[4] = bench.second.work
    assert await bench.first.work()
    assert bench.first.rows["created"] == 3 * SLICE
    assert bench.second.rows["created"] == ROWS - 3 * SLICE
    await bench.check(key)


@pytest.mark.parametrize("event", [Pause(), Cancel()])
async def test_what_is_paused_or_cancelled_takes_no_further_slice(bench: Bench, event: Pause | Cancel) -> None:
    """The slice that was in hand is refused; a paused import goes on with it when it is resumed."""
    key = await bench.begin(urls())
    bench.store.rivals[3] = lambda: bench.imports.send(key, event)
    assert await bench.first.work()
    standing = await bench.imports.get(key)
    assert standing.progress.done == 2 * SLICE
    assert not await bench.first.work()
    if isinstance(event, Pause):
        assert (await bench.imports.send(key, Resume())).state is ImportState.RUNNING
        assert await bench.first.work()
        await bench.check(key)


async def test_a_pause_during_validation_is_heard_before_rows_are_made(bench: Bench) -> None:
    """Resumed, the file is looked at again from its beginning."""
    key = await bench.begin(urls())
    await bench.imports.send(key, Take())
    await bench.imports.send(key, Pause())
    assert not await bench.first.work()
    assert (await bench.imports.send(key, Resume())).state is ImportState.UPLOADED
    assert await bench.first.work()
    await bench.check(key)


async def test_codes_that_are_taken_fail_their_rows_alone(bench: Bench) -> None:
    """Taken before, within the file, or between the look and the commit; the others of the slice are made."""
    now = 1_700_000_000_000_000
    taken = [Link(code=f"old-{n}", url="https://b.example", created_at=now, updated_at=now) for n in range(3)]
    for link in taken[:2]:
        await bench.store.commit(bench.links.creation(link))
    rows = urls()
    for place, code in ((0, "new-0"), (5, "old-0"), (6, "new-1"), (7, "new-1"), (42, "old-1"), (44, "old-2")):
        rows[place]["code"] = code

    async def take_the_third() -> None:
        await bench.store.commit(bench.links.creation(taken[2]))

    key = await bench.begin(rows)
    bench.store.rivals[7] = take_the_third  # the second try of the fifth slice, which looked before
    assert await bench.first.work()
    found = await bench.check(key)
    assert (found.progress.created, found.progress.failed) == (ROWS - 4, 4)
    assert await bench.links.get("new-1") is not None


async def test_a_code_asked_for_that_would_be_given_out_next_is_given_out_once(bench: Bench) -> None:
    """A row names the very code that another row of its slice would get; both orders, and both rows end."""
    record = await bench.store.get(SYSTEM.name, "codes")
    assert record is not None
    other = Slices()
    await other.open()
    twin = CodeFactory(other, key=b64decode(json.loads(record.value)["key"]), clock=bench.clock)
    await twin.open()
    coming = [await twin.next_code() for _ in range(ROWS)]
    rows = urls()
    rows[5]["code"] = coming[5]  # asked for before the sixth row would get it
    rows[29]["code"] = coming[11]  # asked for after another row got it
    key = await bench.begin(rows)
    assert await bench.first.work()
    assert (await bench.check(key)).progress.failed == 1


async def test_what_is_over_is_forgotten_after_its_time(bench: Bench) -> None:
    """Import, report and file; its links stay, and younger imports and unfinished ones too."""
    old, paused = await bench.begin(urls()), await bench.begin(urls(1))
    await bench.imports.send(paused, Pause())
    assert await bench.first.work()
    bench.clock.advance(3_700.0)
    young = await bench.begin(urls(1))
    assert await bench.first.work()
    assert await bench.imports.purge() == 1
    assert await bench.imports.purge() == 0
    with pytest.raises(UnknownImport):
        await bench.imports.get(old)
    assert {item.key for item in (await bench.imports.page(cursor=None, limit=10)).items} == {paused, young}
    newest = await bench.links.page(base=None, tag=None, contains="", after=None, limit=1_000)
    assert len(newest.links) == ROWS + 1


async def test_many_that_nobody_goes_on_with_keep_none_from_being_forgotten(bench: Bench) -> None:
    """However many older ones are paused, or were over a moment ago."""
    paused = [await bench.begin(urls(1)) for _ in range(30)]
    late = [await bench.begin(urls(1)) for _ in range(30)]
    for key in paused:
        await bench.imports.send(key, Pause())
    for key in late:
        await bench.imports.send(key, Pause())
    old = await bench.begin(urls(1))
    await bench.imports.send(old, Cancel())
    bench.clock.advance(3_700.0)
    for key in late:
        await bench.imports.send(key, Cancel())
    assert await bench.imports.purge() == 1
    with pytest.raises(UnknownImport):
        await bench.imports.get(old)
    bench.clock.advance(3_700.0)
    assert await bench.imports.purge() == len(late)
    assert {item.key for item in (await bench.imports.page(cursor=None, limit=100)).items} == set(paused)


async def test_files_that_no_import_needs_are_removed(bench: Bench) -> None:
    """Those of processes killed before they said whose they are, or when they had said that it is over."""
    spool = bench.imports.spool
    waits, over = await bench.begin(urls(1)), await bench.begin(urls(1))
    left = spool.path(over).read_bytes()
    await bench.imports.send(waits, Pause())
    assert await bench.first.work()
    spool.path(over).write_bytes(left)
    spool.path("f" * 23).write_bytes(b"never said")
    spool.path("e" * 23).write_bytes(b"said in a moment")
    hour = bench.clock.time() - 3_601.0
    for key in (waits, over, "f" * 23):
        os.utime(spool.path(key), (hour, hour))
    os.utime(spool.path("e" * 23), (hour + 10.0, hour + 10.0))
    await bench.imports.tidy()
    assert {path.stem for path in spool.folder.glob("*.upload")} == {waits, "e" * 23}
    await bench.imports.send(waits, Resume())
    assert await bench.first.work()
    assert (await bench.imports.get(waits)).state is ImportState.DONE


async def test_a_file_that_is_gone_fails_its_import(bench: Bench) -> None:
    """With a reason that says what to do."""
    key = await bench.begin(urls())
    await bench.imports.spool.drop(key)
    assert await bench.first.work()
    found = await bench.imports.get(key)
    assert (found.state, found.about.reason) == (ImportState.FAILED, "The uploaded file is gone; upload it again.")
