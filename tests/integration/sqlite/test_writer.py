"""The writer: groups, savepoints, deadlines, bounds and cancellation."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from astra_core.errors import StorageError, StoreUnavailable
from astra_core.events import GroupCommitted, WriterContended
from astra_core.sqlite import Limits
from tests.integration.sqlite.rows import ids, insert, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Engine = Callable[..., Any]


class Gate:
    """A unit that holds the writer until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        """Wait in the writer's thread."""
        self.reached.set()
        assert self.opened.wait(30)


async def held(database: Any) -> tuple[Gate, asyncio.Task[None]]:
    """Hold the writer, so that what follows queues up into one group."""
    gate = Gate()
    task = asyncio.create_task(database.write(gate))
    await until(gate.reached.is_set)
    return gate, task


async def test_concurrent_units_share_one_transaction(engine: Engine, path: Path) -> None:
    """What queued up behind a group is the next group, and every caller gets its own result."""
    events: list[Any] = []
    async with engine(path, events.append) as database:
        gate, holding = await held(database)
        tasks = [asyncio.create_task(database.write(insert(n))) for n in range(50)]
        await asyncio.sleep(0.02)
        gate.opened.set()
        assert await asyncio.gather(*tasks) == list(range(50))
        await holding
        assert await database.read(ids) == set(range(50))
    assert max(event.size for event in events if isinstance(event, GroupCommitted)) >= 50


async def test_a_failing_unit_fails_its_caller_alone(engine: Engine, path: Path) -> None:
    """A unit that wrote and then raised is undone to its savepoint; the others of its group are committed."""

    def broken(connection: sqlite3.Connection) -> None:
        insert(100)(connection)
        raise LookupError("mine")

    async with engine(path) as database:
        gate, holding = await held(database)
        works = [insert(0), broken, insert(1), insert(0), insert(2)]
        tasks = [asyncio.create_task(database.write(work)) for work in works]
        await asyncio.sleep(0.02)
        gate.opened.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        await holding
        assert [done[n] for n in (0, 2, 4)] == [0, 1, 2]
        assert isinstance(done[1], LookupError)
        assert isinstance(done[3], StorageError)
        assert isinstance(done[3].__cause__, sqlite3.IntegrityError)
        assert await database.read(ids) == {0, 1, 2}


async def test_when_sqlite_gives_the_transaction_up_nobody_is_told_it_was_written(engine: Engine, path: Path) -> None:
    """A transaction that was rolled back underneath fails every unit of its group, and the next one works."""

    def lost(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    async with engine(path) as database:
        gate, holding = await held(database)
        tasks = [asyncio.create_task(database.write(work)) for work in (insert(0), lost, insert(1))]
        await asyncio.sleep(0)
        gate.opened.set()
        done = await asyncio.gather(*tasks, holding, return_exceptions=True)
        written = await database.read(ids)
        assert {row for row in (done[0], done[2]) if isinstance(row, int)} == written
        assert isinstance(done[1], StorageError)
        assert isinstance(done[0], StorageError) or done[3] is None
        assert await database.write(insert(7)) == 7


class Failing(sqlite3.Connection):
    """Raises at the statements for which `errors` holds something, as often as it does."""

    errors: ClassVar[dict[str, list[Exception]]] = {}

    def execute(self, sql: str, /, *args: Any) -> sqlite3.Cursor:
        """Run a statement, or fail."""
        if self.errors.get(sql):
            raise self.errors[sql].pop()
        return super().execute(sql, *args)


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
@pytest.mark.parametrize(
    ("error", "told"), [(MemoryError(), StoreUnavailable), (RuntimeError("a driver of one's own"), StorageError)]
)
async def test_what_is_raised_round_a_group_answers_it_and_ends_it(
    engine: Engine, path: Path, statement: str, error: Exception, told: type[StorageError]
) -> None:
    """Also what is no error of SQLite, such as that memory is short, and where the rollback fails as well."""

    def connect(name: str, /) -> sqlite3.Connection:
        return sqlite3.connect(name, timeout=0, isolation_level=None, check_same_thread=False, factory=Failing)

    async with engine(path, connect=connect) as database, asyncio.timeout(10):
        await database.write(insert(1))
        Failing.errors = {statement: [error], "ROLLBACK": [MemoryError()]}
        with pytest.raises(told) as caught:
            await database.write(insert(2))
        assert caught.value.__cause__ is error
        Failing.errors.pop("ROLLBACK")
        await asyncio.gather(database.write(insert(3)), return_exceptions=True)
        assert await database.write(insert(4)) == 4
        assert await database.read(ids) in ({1, 4}, {1, 3, 4})


async def test_a_unit_may_raise_stop_iteration(engine: Engine, path: Path) -> None:
    """The exception that no future can hold comes as the `RuntimeError` that a coroutine would make of it."""
    async with engine(path) as database, asyncio.timeout(10):
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            await database.write(lambda c: next(c.execute("SELECT id FROM rows")))
        assert isinstance(caught.value.__cause__, StopIteration)
        assert await database.write(insert(1)) == 1


async def test_memory_that_is_short_is_told_as_such(engine: Engine, path: Path) -> None:
    """To readers and writers alike, of whom the others go on."""

    def short(connection: sqlite3.Connection) -> None:
        raise MemoryError

    async with engine(path) as database:
        for call in (database.read, database.write):
            with pytest.raises(StoreUnavailable, match="memory is short"):
                await call(short)
        assert await database.write(insert(1)) == 1


async def test_a_unit_not_begun_in_time_never_is(engine: Engine, path: Path) -> None:
    """While another process holds the lock a caller hears at its deadline; its unit is dropped, later ones are done."""
    events: list[Any] = []
    async with engine(path, events.append, limits=Limits(deadline=0.2)) as database:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"test\.db.*in time"):
            await database.write(insert(1))
        later = asyncio.create_task(database.write(insert(2)))
        await asyncio.sleep(0.02)
        other.execute("ROLLBACK")
        other.close()
        assert await later == 2
        assert await database.read(ids) == {2}
    contended = [event for event in events if isinstance(event, WriterContended)]
    assert contended
    assert contended[-1].tries > 0


async def test_a_unit_that_was_begun_is_awaited_past_its_deadline(engine: Engine, path: Path) -> None:
    """Once it runs its outcome is reported, so nobody hears "not written" of what is written."""
    async with engine(path, limits=Limits(deadline=0.01)) as database:
        gate = Gate()
        task = asyncio.create_task(database.write(gate))
        await until(gate.reached.is_set)
        await asyncio.sleep(0.05)
        assert not task.done()
        gate.opened.set()
        await task


async def test_a_cancelled_caller_leaves_its_unit_in_place(engine: Engine, path: Path) -> None:
    """A unit handed over is done although its caller left, before it began and while it runs."""
    async with engine(path) as database:
        gate, holding = await held(database)
        waiting = asyncio.create_task(database.write(insert(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        holding.cancel()
        gate.opened.set()
        await asyncio.gather(waiting, holding, return_exceptions=True)
        await database.write(insert(2))
        assert await database.read(ids) == {1, 2}


async def test_a_writer_cancelled_before_its_first_step_answers_and_goes_on(engine: Engine, path: Path) -> None:
    """As at the end of `asyncio.run`, which cancels every task: callers are told, later ones served, closing ends."""
    async with engine(path) as database, asyncio.timeout(10):
        writing = asyncio.create_task(database.write(insert(1)))
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task(), writing}:
            task.cancel()
        with pytest.raises(StoreUnavailable, match="the writer stopped"):
            await writing
        assert await database.write(insert(2)) == 2
        assert await database.read(ids) == {2}


class HeldCheckpoint(sqlite3.Connection):
    """Waits in a checkpoint for the gate of a test."""

    gate: ClassVar[Gate]

    def execute(self, sql: str, /, *args: Any) -> sqlite3.Cursor:
        """Run a statement."""
        if "wal_checkpoint" in sql:
            self.gate(self)
        return super().execute(sql, *args)


async def test_units_that_come_during_a_checkpoint_that_is_cancelled_are_answered(engine: Engine, path: Path) -> None:
    """Nobody else would look at them before the next commit, or at all if the store is closed then."""

    def connect(name: str, /) -> sqlite3.Connection:
        return sqlite3.connect(name, timeout=0, isolation_level=None, check_same_thread=False, factory=HeldCheckpoint)

    gate = HeldCheckpoint.gate = Gate()
    async with engine(path, limits=Limits(idle=0.0), connect=connect) as database, asyncio.timeout(10):
        await database.write(insert(1))
        await until(gate.reached.is_set)
        writing = asyncio.create_task(database.write(insert(2)))
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task(), writing}:
            task.cancel()
        with pytest.raises(StoreUnavailable, match="the writer stopped"):
            await writing
        gate.opened.set()
        assert await database.write(insert(3)) == 3


async def test_one_more_than_the_queue_holds_is_refused(engine: Engine, path: Path) -> None:
    """A full queue refuses at once; there is room again when it was worked off."""
    async with engine(path, limits=Limits(queue=3)) as database:
        gate, holding = await held(database)
        tasks = [asyncio.create_task(database.write(insert(n))) for n in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert tasks[3].done()
        assert isinstance(tasks[3].exception(), StoreUnavailable)
        gate.opened.set()
        await asyncio.gather(holding, *tasks[:3])
        assert await database.write(insert(9)) == 9


async def test_a_group_is_bounded(engine: Engine, path: Path) -> None:
    """No transaction takes more units than its limit, so the write lock is let go in between."""
    events: list[Any] = []
    async with engine(path, events.append, limits=Limits(group=4)) as database:
        await asyncio.gather(*(database.write(insert(n)) for n in range(20)))
    sizes = [event.size for event in events if isinstance(event, GroupCommitted)]
    assert sum(sizes) == 20
    assert max(sizes) <= 4


async def test_bounds_may_be_replaced_while_it_runs(engine: Engine, path: Path) -> None:
    """The next group keeps the new ones, as do the next caller and the next read."""
    events: list[Any] = []
    async with engine(path, events.append) as database:
        await database.write(insert(100))
        database.limits = Limits(group=2, queue=9)
        done = await asyncio.gather(*(database.write(insert(n)) for n in range(10)), return_exceptions=True)
        assert [type(each) for each in done] == [*[int] * 9, StoreUnavailable]
        database.limits = Limits(read=0.0)
        with pytest.raises(StoreUnavailable, match="took too long"):
            await database.read(lambda c: c.execute("SELECT count(*) FROM rows a, rows b, rows c, rows d").fetchone())
    assert max(event.size for event in events if isinstance(event, GroupCommitted)) == 2


async def test_closing_commits_what_waits(engine: Engine, path: Path) -> None:
    """Every unit accepted before close is done, none after it, and the WAL is gone."""
    async with engine(path) as database:
        tasks = [asyncio.create_task(database.write(insert(n))) for n in range(20)]
        await asyncio.sleep(0)
        await database.close()
        assert await asyncio.gather(*tasks) == list(range(20))
        with pytest.raises(StoreUnavailable, match="closed"):
            await database.write(insert(99))
        assert not path.with_name("test.db-wal").exists()


async def test_the_wal_is_bounded_and_emptied_in_idle_moments(engine: Engine, path: Path) -> None:
    """A WAL above its bound is truncated, and one that rests is moved into the database."""
    limits = Limits(wal_bytes=256 * 1024, idle=0.02)
    wal = path.with_name("test.db-wal")
    async with engine(path, limits=limits) as database:
        largest = 0
        for n in range(400):
            await database.write(insert(n, b"x" * 8000))
            largest = max(largest, wal.stat().st_size)
        assert largest < 2 * 1024 * 1024
        await until(lambda: path.stat().st_size > 400 * 8000)


async def test_the_data_version_moves_with_every_commit(engine: Engine, path: Path) -> None:
    """A poll tells our own commits and those of another process, and stands still otherwise."""
    async with engine(path) as database:
        seen = [database.data_version()]
        assert database.data_version() == seen[0]
        await database.write(insert(1))
        seen.append(database.data_version())
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("INSERT INTO rows VALUES (2, NULL)")
        other.close()
        seen.append(database.data_version())
        assert len(set(seen)) == 3


@pytest.mark.parametrize(("checkpoint", "moved"), [(0, 0), (3, 6)])
async def test_a_writer_may_move_the_wal_itself_every_few_groups(
    engine: Callable[..., Any], path: Path, checkpoint: int, moved: int
) -> None:
    """What the database file holds without its WAL are the rows up to the last such group; else SQLite has not yet."""
    async with engine(path, limits=Limits(checkpoint=checkpoint, idle=60.0)) as database:
        for number in range(8):
            await database.write(lambda c, n=number: c.execute("INSERT INTO rows VALUES (?, 'x')", (n,)).rowcount)
        seen = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
        try:
            rows = seen.execute("SELECT count(*) FROM sqlite_master WHERE name = 'rows'").fetchone()[0]
            found = seen.execute("SELECT count(*) FROM rows").fetchone()[0] if rows else 0
        finally:
            seen.close()
    assert found == moved
