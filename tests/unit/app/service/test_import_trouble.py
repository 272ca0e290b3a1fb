"""What an import tells of itself while it runs: how fast it is, what stopped it, and which row its workers end at."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from app.api import draft_of_row, view_of
from app.imports import Cancel, ImportState, Pause, Resume
from app.main.importing import keep_working
from astra_core.errors import StoreUnavailable
from tests.unit.app.service.importing_bench import ROWS, SLICE, Bench, urls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from app.imports import Row
    from app.service import Draft
    from astra_core.errors import AstraError

POISON = "https://poison.example/"


class WorkerEnded(BaseException):
    """Stands for a process that ends: nothing catches it."""


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    """An opened one."""
    bench = Bench(tmp_path)
    await bench.store.open()
    await bench.codes.open()
    return bench


def poisonous(error: type[BaseException]) -> Callable[[Row, str], Draft | AstraError]:
    """Read rows, and fall at the poisonous one."""

    def draft(row: Row, via: str) -> Draft | AstraError:
        if isinstance(row.members, bytes) and POISON.encode() in row.members:
            raise error
        return draft_of_row(row, via)

    return draft


def before_each(slices: range, rival: Callable[[], Awaitable[object]]) -> dict[int, Callable[[], Awaitable[object]]]:
    """Let the same happen before the commit of each of these slices."""
    return dict.fromkeys(slices, rival)


async def test_the_rate_is_rows_by_the_wall_clock(bench: Bench) -> None:
    """Whatever takes the time, the commit too; and what was long ago counts for little."""
    took = 2.0

    async def commit_slowly() -> None:
        bench.clock.advance(took)

    key = await bench.begin(urls())
    bench.store.rivals = before_each(range(1, 11), commit_slowly)
    await bench.first.work()
    assert view_of(await bench.imports.get(key)).rate == pytest.approx(SLICE / took)

    key = await bench.begin(urls(20 * ROWS))
    bench.store.rivals = before_each(range(bench.store.number + 1, 1000), commit_slowly)
    slow = 20 * ROWS // SLICE // 2

    async def be_faster() -> None:
        nonlocal took
        took = 0.5

    bench.store.rivals[bench.store.number + slow] = be_faster
    await bench.first.work()
    assert view_of(await bench.imports.get(key)).rate == pytest.approx(SLICE / 0.5, rel=0.05)


async def test_a_pause_counts_for_nothing_in_the_rate(bench: Bench) -> None:
    """An hour between pause and resumption leaves the rate as it was."""

    async def commit_slowly() -> None:
        bench.clock.advance(1.0)

    async def pause() -> None:
        await bench.imports.send(key, Pause())

    key = await bench.begin(urls())
    bench.store.rivals = before_each(range(1, 12), commit_slowly) | {6: pause}
    await bench.first.work()
    bench.clock.advance(3_600.0)
    await bench.imports.send(key, Resume())
    await bench.first.work()
    assert view_of(await bench.imports.get(key)).rate == pytest.approx(SLICE / 1.0)


@pytest.mark.parametrize(
    ("event", "words"), [(Pause(), "was paused"), (Cancel(), "was cancelled"), (None, "was taken over by second")]
)
async def test_what_stopped_a_worker_is_logged_as_what_it_is(
    bench: Bench, caplog: pytest.LogCaptureFixture, event: Pause | Cancel | None, words: str
) -> None:
    """A pause, a cancellation, and another worker each have their own line."""
    caplog.set_level(logging.INFO)
    key = await bench.begin(urls())

    async def stop() -> None:
        await (bench.second.work() if event is None else bench.imports.send(key, event))

    bench.store.rivals[3] = stop
    await bench.first.work()
    assert f"import {key} {words}" in caplog.messages


async def test_a_change_that_was_committed_is_answered_as_done(bench: Bench) -> None:
    """By the progress of before, where that of now cannot be read; what the store did not take is no change."""
    key = await bench.begin(urls())
    before = await bench.imports.get(key)
    bench.store.going = True
    paused = await bench.imports.change(key, Pause())
    assert (paused.state, paused.version) == (ImportState.PAUSED, before.version + 1)
    assert (paused.progress, paused.progress_version) == (before.progress, before.progress_version)
    with pytest.raises(StoreUnavailable):
        await bench.imports.change(key, Resume())
    bench.store.away = bench.store.going = False
    assert (await bench.imports.get(key)).state is ImportState.PAUSED


async def test_links_made_and_reused_are_logged_apart(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """As the API counts them."""
    caplog.set_level(logging.INFO)
    row = {"url": "https://a.example/1", "reuse": True}
    key = await bench.begin([row, row, row, {"url": "ftp://a.example"}])
    await bench.first.work()
    assert caplog.messages[-1] == f"import {key} is done: 1 links made, 2 reused, 1 rows failed"


async def test_a_row_that_ends_every_worker_fails_its_import_alone(bench: Bench) -> None:
    """The import names the row in the end; rows before it are made, and the next import has its turn."""
    rows = urls()
    rows[36] = {"url": POISON}
    key, behind = await bench.begin(rows), await bench.begin(urls(5))
    ended = 0
    while await bench.imports.next_open() is not None:
        worker = bench.importer("one more", draft=poisonous(WorkerEnded))
        try:
            await worker.work()
        except WorkerEnded:
            ended += 1
    failed = await bench.imports.get(key)
    assert (failed.state, failed.progress.done) == (ImportState.FAILED, 36)
    assert failed.about.reason.startswith("Row 37 ended the worker 4 times")
    assert ended == 7  # three until the rows before it were made, the last one by one, and four at the row
    assert (await bench.imports.get(behind)).state is ImportState.DONE


async def test_an_error_that_nobody_expected_does_not_end_the_work(bench: Bench) -> None:
    """Within one process too: its import fails in the end, the one behind it is carried out."""
    rows: list[Any] = [*urls(3), {"url": POISON}]
    key, behind = await bench.begin(rows), await bench.begin(urls(5))
    worker = bench.importer("the only one", draft=poisonous(ZeroDivisionError))
    working = asyncio.create_task(keep_working(worker, clock=bench.clock))
    while await bench.imports.next_open() is not None:
        await asyncio.sleep(0)
        bench.clock.advance(1.0)
    working.cancel()
    failed = await bench.imports.get(key)
    assert failed.about.reason.startswith("Row 4 ended")
    assert (await bench.imports.get(behind)).state is ImportState.DONE


async def test_a_store_that_is_away_is_not_held_against_the_row(bench: Bench) -> None:
    """However often a commit fails, the import goes on when the store is back."""
    key = await bench.begin(urls())
    bench.store.failures = dict.fromkeys(range(3, 23), StoreUnavailable("away"))
    failed = 0
    while await bench.imports.next_open() is not None:
        try:
            await bench.first.work()
        except StoreUnavailable:
            failed += 1
    assert failed == 20
    await bench.check(key)


async def test_pausing_again_and_again_is_not_held_against_the_row(bench: Bench) -> None:
    """Someone who pauses and resumes many times before a slice is made fails nothing."""
    key = await bench.begin(urls())

    async def pause() -> None:
        await bench.imports.send(key, Pause())

    bench.store.rivals = before_each(range(1, 11), pause)
    for _ in range(10):
        assert await bench.importer("another").work()
        await bench.imports.send(key, Resume())
    assert await bench.first.work()
    await bench.check(key)
