"""Leases and members in one SQLite file, for the processes of one machine.

Times in the file are those of the machine's monotonic clock, which all its processes share: no step of the wall clock
moves them, and they stand still while the machine sleeps, as the clocks of the holders do. They mean nothing after a
restart, so each row names the boot that it was written in, and a row of another one is over (ADR 22).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from astra_core.clock import SystemClock
from astra_core.coordination.leases import Lease, Standing
from astra_core.coordination.machine import boot_id
from astra_core.coordination.members import Member, View
from astra_core.errors import CoordinationError, CoordinationUnavailable, LeaseLost, StorageError, StoreUnavailable
from astra_core.sqlite import Database, Schema

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from astra_core.clock import Clock
    from astra_core.events import Listeners
    from astra_core.sqlite import Limits, Pool

__all__ = ["SqliteCoordination"]

T = TypeVar("T")
Values: TypeAlias = dict[str, Any]
"""What a statement's placeholders stand for."""

_HELD = "name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, note TEXT NOT NULL, boot TEXT NOT NULL, until REAL NOT NULL"
_SCHEMA = Schema(
    application_id=0x41737463,  # the letters "Astc"
    migrations=(
        (
            f"CREATE TABLE leases ({_HELD}) WITHOUT ROWID",
            f"CREATE TABLE members ({_HELD}) WITHOUT ROWID",
            "CREATE TABLE revision (number INTEGER NOT NULL)",
            "INSERT INTO revision VALUES (0)",
        ),
    ),
)

_ACQUIRE = (
    "INSERT INTO leases VALUES (:name, 1, :note, :boot, :now + :ttl)"
    " ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1, note = :note, boot = :boot, until = :now + :ttl"
    " WHERE boot <> :boot OR until <= :now RETURNING epoch"
)
_RENEW = "UPDATE {} SET until = :now + :ttl WHERE name = :name AND epoch = :epoch AND boot = :boot AND until > :now"
_RENEW_LEASE, _RENEW_MEMBER = _RENEW.format("leases"), _RENEW.format("members")
_RELEASE = "UPDATE leases SET until = 0 WHERE name = ? AND epoch = ?"
_STANDING = "SELECT note, epoch, until FROM leases WHERE name = ? AND boot = ? AND until > ?"
_EXPEL = "DELETE FROM members WHERE boot <> ? OR until <= ?"
_JOIN = (
    "INSERT OR IGNORE INTO members"
    " VALUES (:name, (SELECT number + 1 FROM revision), :note, :boot, :now + :ttl) RETURNING epoch"
)
_LEAVE = "DELETE FROM members WHERE name = ? AND epoch = ?"
_MOVE = "UPDATE revision SET number = number + 1"
_VIEW = "SELECT number, name, epoch, note, boot, until FROM revision LEFT JOIN members ORDER BY name"


class SqliteCoordination:
    """`Leases` and `Members` in the file at `path`. Building does no I/O; the pools stay their owner's to close.

    `writer` must have one thread. `poll` is the pause in seconds between two looks of `changed`, each some 4 us.
    `clock` must be the machine's: its monotonic time is what the file holds.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        writer: Pool,
        readers: Pool,
        limits: Limits | None = None,
        clock: Clock | None = None,
        listeners: Listeners | None = None,
        boot: Callable[[], str] = boot_id,
        poll: float = 0.05,
    ) -> None:
        self.database = Database(
            path, schema=_SCHEMA, writer=writer, readers=readers, limits=limits, listeners=listeners
        )
        self._clock: Clock = clock or SystemClock()
        self._now = self._clock.monotonic
        self._read_boot = boot
        self._boot = ""
        self._poll = poll

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Make the file if there is none. Raises `CoordinationError` in one sentence that names the file."""
        self._boot = self._read_boot()
        await _translated(self.database.open())

    async def close(self) -> None:
        """Commit what waits and close the file."""
        await self.database.close()

    async def acquire(self, name: str, *, ttl: float, holder: str = "") -> Lease | None:
        """See `Leases.acquire`."""
        return await self._take(_acquire, name, ttl, holder)

    async def renew(self, lease: Lease) -> Lease:
        """See `Leases.renew`."""
        return await self._renew(_RENEW_LEASE, lease)

    async def release(self, lease: Lease) -> None:
        """See `Leases.release`."""
        await self._write(lambda connection: connection.execute(_RELEASE, (lease.name, lease.epoch)).rowcount)

    async def standing(self, name: str) -> Standing | None:
        """See `Leases.standing`."""
        now = self._now()
        values = name, self._boot, now
        rows = await _translated(self.database.read(lambda at: at.execute(_STANDING, values).fetchall()))
        return Standing(name, rows[0][0], rows[0][1], rows[0][2] - now) if rows else None

    async def join(self, name: str, *, ttl: float, data: str = "") -> Lease | None:
        """See `Members.join`."""
        return await self._take(_join, name, ttl, data)

    async def beat(self, lease: Lease) -> Lease:
        """See `Members.beat`."""
        return await self._renew(_RENEW_MEMBER, lease)

    async def leave(self, lease: Lease) -> None:
        """See `Members.leave`."""

        def leave(connection: sqlite3.Connection) -> None:
            if connection.execute(_LEAVE, (lease.name, lease.epoch)).rowcount:
                connection.execute(_MOVE)

        await self._write(leave)

    async def view(self) -> View:
        """See `Members.view`."""
        return (await self._look())[0]

    async def changed(self, after: int, *, wait: float) -> View:
        """See `Members.changed`."""
        end = self._now() + wait
        while True:
            version = self._version()
            view, over = await self._look()
            while view.revision == after and self._version() == version and self._now() < min(over, end):
                await self._clock.sleep(min(self._poll, max(0.0, end - self._now())))
            if view.revision != after or self._now() >= end:
                return view

    async def _take(
        self, take: Callable[[sqlite3.Connection, Values], int | None], name: str, ttl: float, note: str
    ) -> Lease | None:
        asked = self._now()  # before the file is: whatever takes long in between shortens what the holder believes in
        values: Values = {"name": name, "note": note, "boot": self._boot, "ttl": ttl}
        epoch = await self._write(lambda connection: take(connection, values | {"now": self._now()}))
        return None if epoch is None else Lease(name, epoch, ttl, asked + ttl)

    async def _renew(self, statement: str, lease: Lease) -> Lease:
        asked = self._now()
        values: Values = {"name": lease.name, "epoch": lease.epoch, "boot": self._boot, "ttl": lease.ttl}

        def renew(connection: sqlite3.Connection) -> int:
            return connection.execute(statement, values | {"now": self._now()}).rowcount

        if not await self._write(renew):
            raise LeaseLost(lease.name, lease.epoch)
        return Lease(lease.name, lease.epoch, lease.ttl, asked + lease.ttl)

    async def _look(self) -> tuple[View, float]:
        """Return the view, and when the first of its members is over. Who is over already is dropped first."""
        rows = await _translated(self.database.read(_rows))
        now = self._now()
        if any(boot is not None and (boot != self._boot or until <= now) for *_, boot, until in rows):
            rows = await self._write(lambda connection: _expelled(connection, self._boot, self._now()))
        members = tuple(Member(name, epoch, note) for _, name, epoch, note, *_ in rows if name is not None)
        over = min((until for *_, until in rows if until is not None), default=float("inf"))
        return View(rows[0][0], members), over

    def _version(self) -> int:
        try:
            return self.database.data_version()
        except StoreUnavailable as error:
            raise CoordinationUnavailable(error.reason, retry_after=error.retry_after) from error

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await _translated(self.database.write(work))

    def __repr__(self) -> str:
        return f"SqliteCoordination({self.database!r})"


async def _translated(call: Awaitable[T]) -> T:
    """Await `call`: the one place where the engine's errors become the port's."""
    try:
        return await call
    except StoreUnavailable as error:
        raise CoordinationUnavailable(error.reason, retry_after=error.retry_after) from error
    except StorageError as error:
        raise CoordinationError(str(error)) from error


def _acquire(connection: sqlite3.Connection, values: Values) -> int | None:
    rows = connection.execute(_ACQUIRE, values).fetchall()
    return int(rows[0][0]) if rows else None


def _join(connection: sqlite3.Connection, values: Values) -> int | None:
    _expel(connection, values["boot"], values["now"])
    rows = connection.execute(_JOIN, values).fetchall()
    if not rows:
        return None
    connection.execute(_MOVE)
    return int(rows[0][0])


def _expel(connection: sqlite3.Connection, boot: str, now: float) -> None:
    if connection.execute(_EXPEL, (boot, now)).rowcount:
        connection.execute(_MOVE)


def _rows(connection: sqlite3.Connection) -> list[tuple[int, str, int, str, str, float]]:
    return connection.execute(_VIEW).fetchall()


def _expelled(connection: sqlite3.Connection, boot: str, now: float) -> list[tuple[int, str, int, str, str, float]]:
    _expel(connection, boot, now)
    return _rows(connection)
