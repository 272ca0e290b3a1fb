"""Deferred indexes over SQLite: entries lie in one of two tables, move together, and are found wherever they are."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest

from astra_core.errors import DefinitionError, StoreUnavailable
from astra_core.events import EntriesWaiting, Listeners
from astra_core.keyed import BlockingPool
from astra_core.storage import Collection, Delete, Index, Insert, MemoryStore, Query, Replace, SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from astra_core.storage import Page
    from astra_core.storage.writes import Entries

THINGS = Collection(name="things", indexes=(Index(name="mark", parts=2, multi=True, deferred=True),))
SETTLE_AT = 64


@asynccontextmanager
async def opened(
    path: Path, seen: list[object] | None = None, *, settle_at: int = SETTLE_AT
) -> AsyncIterator[SqliteStore]:
    """Open the store of `path`, which tells `seen` of its events."""
    writer, readers = BlockingPool("writer", threads=1, queue=64), BlockingPool("readers", threads=2, queue=64)
    listeners = Listeners() if seen is None else Listeners(seen.append)
    store = SqliteStore(
        path, collections=[THINGS], writer=writer, readers=readers, listeners=listeners, settle_at=settle_at
    )
    try:
        async with store:
            yield store
    finally:
        await writer.close()
        await readers.close()


def marks(number: int) -> Entries:
    """One entry out of the order of time, so that neighbours in the index are not made together."""
    return {"mark": ((number * 7919 % 1009, number),)}


def insert(number: int) -> Insert:
    """Make a thing."""
    return Insert(collection="things", key=f"k{number}", value=b"v", entries=marks(number))


async def found(store: SqliteStore, number: int) -> Page:
    """Look for a thing by its entry."""
    return await store.find(Query(collection="things", index="mark", prefix=(number * 7919 % 1009, number)))


def tables(path: Path) -> tuple[list[str], list[str]]:
    """Return the keys of the entries that are in order, and of those that wait."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN")  # both at one moment: entries move meanwhile
        settled, fresh = (
            [row[0] for row in connection.execute(f'SELECT key FROM "{name}"')]
            for name in ("x:things:mark", "x:things:mark:fresh")
        )
    return settled, fresh


async def quiet(path: Path, below: int) -> None:
    """Wait until fewer entries wait."""
    for _ in range(3_000):
        if len(tables(path)[1]) < below:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"still {len(tables(path)[1])} wait")


async def test_entries_are_moved_together_and_found_before_and_afterwards(tmp_path: Path) -> None:
    """Each is in one table and not in both, at any time; in the end fewer wait than may."""
    path, seen = tmp_path / "a.db", list[object]()
    async with opened(path, seen) as store:
        for number in range(40):
            await store.commit([insert(number)])
        assert tables(path) == ([], [f"k{number}" for number in range(40)])
        assert [len((await found(store, number)).records) for number in range(40)] == [1] * 40
        for start in range(40, 1000, 20):
            await store.commit([insert(number) for number in range(start, start + 20)])
            settled, fresh = tables(path)
            assert sorted(settled + fresh) == sorted(f"k{number}" for number in range(start + 20))
        await quiet(path, SETTLE_AT + 40)
        assert [len((await found(store, number)).records) for number in range(1000)] == [1] * 1000
    assert max(event.entries for event in seen if isinstance(event, EntriesWaiting)) >= SETTLE_AT
    assert len(tables(path)[0]) > 800
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_moves_go_on_while_too_many_wait_and_nobody_commits(tmp_path: Path) -> None:
    """After one commit, that is, and however many there are: more than one pass takes."""
    path = tmp_path / "a.db"
    async with opened(path):
        pass
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = ((number * 7919 % 1009, number, f"k{number}") for number in range(40_000))
        connection.executemany('INSERT INTO "x:things:mark:fresh" VALUES (?, ?, ?)', rows)
    async with opened(path) as store:
        await store.commit([insert(40_000)])
        await quiet(path, SETTLE_AT)
    settled, fresh = tables(path)
    assert sorted(settled + fresh) == sorted(f"k{number}" for number in range(40_001))


async def test_moves_keep_up_with_those_who_commit(tmp_path: Path) -> None:
    """Callers who add more than one move takes, again and again, are met with more moves."""
    path = tmp_path / "a.db"

    async def add(first: int) -> None:
        for start in range(first, first + 4_000, 200):
            await store.commit([insert(number) for number in range(start, start + 200)])

    async with opened(path) as store:
        await asyncio.gather(*(add(caller * 4_000) for caller in range(10)))
        settled, fresh = tables(path)
    assert len(settled) + len(fresh) == 40_000
    assert len(fresh) < 10_000


async def test_what_changes_or_goes_leaves_no_entry_behind(tmp_path: Path) -> None:
    """Wherever its entry was: moved already, or waiting."""
    path = tmp_path / "a.db"
    async with opened(path) as store:
        await store.commit([insert(number) for number in range(SETTLE_AT)])
        await quiet(path, 1)
        await store.commit([insert(number) for number in range(SETTLE_AT, SETTLE_AT + 4)])
        assert len(tables(path)[1]) == 4
        for key in (0, SETTLE_AT):  # one of each table
            await store.commit([Delete(collection="things", key=f"k{key}")])
            await store.commit(
                [Replace(collection="things", key=f"k{key + 1}", version=1, value=b"w", entries=marks(key + 5000))]
            )
            assert not (await found(store, key)).records
            assert not (await found(store, key + 1)).records
            assert [record.value for record in (await found(store, key + 5000)).records] == [b"w"]
        settled, fresh = tables(path)
        assert "k0" not in settled + fresh
        assert f"k{SETTLE_AT}" not in settled + fresh
        assert sorted(settled + fresh) == sorted([f"k{n}" for n in range(1, SETTLE_AT + 4) if n != SETTLE_AT])


async def test_two_processes_move_what_there_is_once(tmp_path: Path) -> None:
    """Both look, both move; what one has moved the other does not find."""
    path = tmp_path / "a.db"
    async with opened(path) as one, opened(path) as other:
        for start in range(0, 800, 20):
            await asyncio.gather(
                one.commit([insert(number) for number in range(start, start + 10)]),
                other.commit([insert(number) for number in range(start + 10, start + 20)]),
            )
        await quiet(path, SETTLE_AT + 40)
        assert [len((await found(one, number)).records) for number in range(800)] == [1] * 800
    settled, fresh = tables(path)
    assert sorted(settled + fresh) == sorted(f"k{number}" for number in range(800))


async def test_a_store_in_trouble_leaves_them_for_another_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Commits go on, it is told, and the next look moves what waits."""
    path = tmp_path / "a.db"
    caplog.set_level(logging.INFO)
    async with opened(path) as store:
        read = store.database.read

        async def fails(work: object) -> None:
            raise StoreUnavailable("gone")

        monkeypatch.setattr(store.database, "read", fails)
        await store.commit([insert(number) for number in range(SETTLE_AT)])
        await asyncio.sleep(0.05)
        assert "wait for longer: gone" in caplog.text
        assert len(tables(path)[1]) == SETTLE_AT
        monkeypatch.setattr(store.database, "read", read)
        await store.commit([insert(number) for number in range(SETTLE_AT, SETTLE_AT + 10)])
        await quiet(path, SETTLE_AT)


async def test_closing_stops_the_moves_and_loses_nothing(tmp_path: Path) -> None:
    """Also right after the commit that began them."""
    path = tmp_path / "a.db"
    async with opened(path) as store:
        await store.commit([insert(number) for number in range(3_000)])
    settled, fresh = tables(path)
    assert sorted(settled + fresh) == sorted(f"k{number}" for number in range(3_000))


def test_what_cannot_be_deferred_is_refused(tmp_path: Path) -> None:
    """An index that is unique must look at once; one entry a record has columns of its own."""
    for index in (Index(name="i", deferred=True), Index(name="i", multi=True, unique=True, deferred=True)):
        with pytest.raises(DefinitionError, match="deferred, so it must be multi and not unique"):
            MemoryStore(collections=[Collection(name="c", indexes=(index,))])


async def test_a_query_fixes_the_first_part(tmp_path: Path) -> None:
    """Of whatever store, so that none answers what another refuses."""
    async with MemoryStore(collections=[THINGS]) as store:
        with pytest.raises(ValueError, match="must fix its first part"):
            await store.find(Query(collection="things", index="mark"))
