# ruff: noqa: ASYNC240 - a test may touch its files
"""Opening: what cannot be opened says so in one sentence that names the file."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import astra_core
from astra_core.errors import StorageError, StoreUnavailable
from astra_core.keyed import BlockingPool
from astra_core.sqlite import Database, Limits, Schema
from astra_core.sqlite.connections import connect
from tests.integration.sqlite.conftest import SCHEMA
from tests.integration.sqlite.rows import ids, insert

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ROOT = Path(astra_core.__file__).parents[1]
FIRST = ("CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB)",)
SECOND = ("ALTER TABLE rows ADD COLUMN note", "CREATE INDEX notes ON rows (note)")


async def fails(engine: Callable[..., Any], path: Path, **options: Any) -> StorageError:
    """The error of opening."""
    with pytest.raises(StorageError) as caught:
        async with engine(path, **options):
            pass
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_a_new_file_belongs_to_its_owner_and_is_in_wal_mode(engine: Callable[..., Any], path: Path) -> None:
    """Missing folders are made, file and WAL are private, and every commit is synced."""
    async with engine(path) as database:
        await database.write(insert(1))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.with_name("test.db-wal").stat().st_mode) == 0o600
        modes = await database.write(
            lambda c: [c.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
        )
        assert modes == ["wal", 2]
    async with engine(path) as database:
        assert await database.read(ids) == {1}


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(engine: Callable[..., Any], path: Path) -> None:
    """Some other file is not touched."""
    path.parent.mkdir(parents=True)
    path.write_bytes(b"these are notes\n" * 100)
    assert "not an SQLite database" in str(await fails(engine, path))
    assert path.read_bytes() == b"these are notes\n" * 100


async def test_another_programs_database_is_refused_and_left_as_it_is(engine: Callable[..., Any], path: Path) -> None:
    """A database with another mark, or with tables and no mark, is not ours."""
    path.parent.mkdir(parents=True)
    for statement in ("PRAGMA application_id=99", "CREATE TABLE theirs (x)"):
        other = sqlite3.connect(path)
        other.execute(statement)
        other.commit()
        other.close()
        before = path.read_bytes()
        assert "another program" in str(await fails(engine, path))
        assert path.read_bytes() == before
        path.unlink()


async def test_a_folder_that_cannot_be_made_is_unavailable(engine: Callable[..., Any], tmp_path: Path) -> None:
    """A file in the way of the folder, and a folder in the way of the file."""
    (tmp_path / "file").write_bytes(b"")
    assert isinstance(await fails(engine, tmp_path / "file" / "test.db"), StoreUnavailable)
    (tmp_path / "folder.db").mkdir()
    assert isinstance(await fails(engine, tmp_path / "folder.db"), StoreUnavailable)


async def test_a_link_that_leads_nowhere_yet_leads_to_a_private_file(engine: Callable[..., Any], path: Path) -> None:
    """The file and its folder are made where the link leads, for their owner only."""
    path.parent.mkdir(parents=True)
    target = path.with_name("elsewhere") / "real.db"
    path.symlink_to(target)
    async with engine(path) as database:
        assert database.is_new
        await database.write(insert(1))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


LAST_TO_LEAVE = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM rows'); c.close()"


async def test_opening_again_takes_no_lock_from_who_has_it_open(engine: Callable[..., Any], path: Path) -> None:
    """Beside a second engine of this process, another process still sees that it is not alone and leaves the WAL."""
    async with engine(path) as first, engine(path):
        await first.write(insert(1))
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", LAST_TO_LEAVE, str(path)], check=True)
        await first.write(insert(2))
        other = sqlite3.connect(path)
        assert ids(other) == {1, 2}
        other.close()


async def test_a_database_in_memory_is_refused(
    engine: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection would see what another one wrote; no file of that name is made either."""
    monkeypatch.chdir(tmp_path)
    assert "in memory is no file" in str(await fails(engine, Path(":memory:")))
    assert not list(tmp_path.iterdir())


async def test_a_schema_moves_forward_only(engine: Callable[..., Any], path: Path) -> None:
    """Migrations that are new are applied once; a file of a newer version is refused, and served again by its own."""
    old, new = (Schema(application_id=1, migrations=steps) for steps in ((FIRST,), (FIRST, SECOND)))
    async with engine(path, schema=old) as database:
        await database.write(insert(1))
    for _ in range(2):
        async with engine(path, schema=new) as database:
            assert await database.read(lambda c: c.execute("SELECT id, note FROM rows").fetchall()) == [(1, None)]
    assert "schema version 2" in str(await fails(engine, path, schema=old))


async def test_opening_waits_for_a_lock_up_to_its_deadline(engine: Callable[..., Any], path: Path) -> None:
    """Beside a process that holds the write lock, opening goes on once it is free, or is refused in time."""
    async with engine(path):
        pass
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    refused = await fails(engine, path, limits=Limits(deadline=0.05))
    assert isinstance(refused, StoreUnavailable)
    assert "locked" in str(refused)
    asyncio.get_running_loop().call_later(0.05, other.execute, "ROLLBACK")
    async with engine(path) as database:
        await database.write(insert(1))
    other.close()


async def test_a_migration_that_fails_leaves_the_file_as_it_was(engine: Callable[..., Any], path: Path) -> None:
    """All steps of an opening stand in one transaction."""
    async with engine(path, schema=Schema(application_id=1, migrations=(FIRST,))):
        pass
    bad = Schema(application_id=1, migrations=(FIRST, (*SECOND, "CREATE TABLE rows (x)")))
    await fails(engine, path, schema=bad)
    async with engine(path, schema=Schema(application_id=1, migrations=(FIRST, SECOND))):
        pass


PROGRAM = """
import asyncio, sys
from astra_core.keyed import BlockingPool
from astra_core.storage import Collection, Index, Insert, SqliteStore

async def main(path, number):
    writer, readers = BlockingPool("w", threads=1, queue=4), BlockingPool("r", threads=1, queue=4)
    things = Collection(name="things", indexes=(Index(name="made"), Index(name="tag", multi=True)))
    sys.stdin.readline()
    async with SqliteStore(path, collections=[things], writer=writer, readers=readers) as store:
        await store.commit([Insert(collection="things", key=number, value=b"", entries={"made": ((1,),)})])
    await writer.close()
    await readers.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_may_open_a_new_file_at_once(path: Path) -> None:
    """Four processes race to make the same file: all of them serve, and one schema stands."""

    def race() -> list[tuple[int, str]]:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(path), str(number)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(4)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        ended = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
        return [(code, errors) for errors, code in ended]

    assert await asyncio.to_thread(race) == [(0, "")] * 4
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM r_things").fetchone() == (4,)
    connection.close()


class Opened:
    """Opens connections and keeps them."""

    def __init__(self) -> None:
        self.connections: list[sqlite3.Connection] = []

    def __call__(self, path: str, /) -> sqlite3.Connection:
        """Open one more."""
        self.connections.append(connect(path))
        return self.connections[-1]

    def all_closed(self) -> bool:
        """Whether none is open."""
        for connection in self.connections:
            with contextlib.suppress(sqlite3.ProgrammingError):
                connection.execute("SELECT 1")
                return False
        return True


@pytest.fixture
async def writer() -> AsyncIterator[BlockingPool]:
    """A writer's pool in which nothing may wait."""
    pool = BlockingPool("writer", threads=1, queue=0)
    yield pool
    await pool.close()


@pytest.fixture
async def readers() -> AsyncIterator[BlockingPool]:
    """A pool for reads."""
    pool = BlockingPool("readers", threads=1, queue=8)
    yield pool
    await pool.close()


async def test_two_may_open_and_close_at_once(path: Path, writer: BlockingPool, readers: BlockingPool) -> None:
    """The second waits for the first, and finds done what it asks for."""
    opened = Opened()
    database = Database(path, schema=SCHEMA, writer=writer, readers=readers, connect=opened)
    await asyncio.gather(database.open(), database.open())
    assert len(opened.connections) == 2
    await database.write(insert(1))
    await asyncio.gather(database.close(), database.close())
    assert opened.all_closed()


async def test_a_writer_that_is_taken_is_unavailable(path: Path, writer: BlockingPool, readers: BlockingPool) -> None:
    """To who opens and to who closes; a second close does what the first could not."""
    opened, gate = Opened(), threading.Event()
    database = Database(path, schema=SCHEMA, writer=writer, readers=readers, connect=opened)
    for call in (database.open, database.close):
        busy = asyncio.create_task(writer.run(gate.wait))
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match=r"test\.db: the writer's thread is taken"):
            await call()
        gate.set()
        await busy
        gate.clear()
        await call()
    assert opened.all_closed()


async def test_a_close_that_was_cancelled_is_finished_by_the_next(
    path: Path, writer: BlockingPool, readers: BlockingPool
) -> None:
    """Or by the next open, which opens the file anew; nobody is served in between."""
    opened, gate = Opened(), threading.Event()
    database = Database(path, schema=SCHEMA, writer=writer, readers=readers, connect=opened)
    for finish in (database.close, database.open, database.close):
        await database.open()
        writing = asyncio.create_task(database.write(lambda _: gate.wait(30)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(database.close(), 0.02)
        with pytest.raises(StoreUnavailable, match="closed"):
            await database.write(insert(1))
        with pytest.raises(StoreUnavailable, match="closed"):
            await database.read(ids)
        gate.set()
        await writing
        gate.clear()
        await finish()
        assert opened.all_closed() is (finish == database.close)


async def test_who_is_cancelled_while_it_opens_leaves_no_connection(path: Path) -> None:
    """A thread goes on opening for a caller that is gone; what it opened is closed."""
    go, opened = threading.Event(), list[sqlite3.Connection]()

    def slow(name: str, /) -> sqlite3.Connection:
        go.wait()
        opened.append(connect(name))
        return opened[-1]

    writer, readers = BlockingPool("writer", threads=1, queue=8), BlockingPool("readers", threads=1, queue=8)
    database = Database(path, schema=SCHEMA, writer=writer, readers=readers, connect=slow)
    opening = asyncio.create_task(database.open())
    while not writer.in_use:  # noqa: ASYNC110 - a thread has no event for it
        await asyncio.sleep(0.001)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    go.set()
    await writer.close()
    await readers.close()
    assert len(opened) == 2
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
