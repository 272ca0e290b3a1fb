"""The embedded engine: one writer that group-commits, readers beside it, in pools handed in."""

from __future__ import annotations

import asyncio
import random as random_module
import sqlite3
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, TypeVar

from astra_core.clock import SystemClock
from astra_core.errors import Overloaded, StorageError, StoreUnavailable
from astra_core.events import Listeners
from astra_core.sqlite.connections import connect as connect_sqlite
from astra_core.sqlite.connections import open_reader, open_writer, prepare_file
from astra_core.sqlite.failures import DRIVER_ERRORS, translate
from astra_core.sqlite.group import GroupCommit, one_after_another
from astra_core.sqlite.limits import Limits
from astra_core.sqlite.readers import Readers
from astra_core.sqlite.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from astra_core.clock import Clock
    from astra_core.sqlite.connections import Connect, Schema
    from astra_core.sqlite.group import Together
    from astra_core.sqlite.pool import Pool

__all__ = ["Database"]

T = TypeVar("T")


class Database:
    """One SQLite file in WAL mode with `synchronous=FULL`: what was acknowledged survives a power cut.

    Concurrent units of work share a transaction, so they share its one sync. `writer` must have one thread. Nothing
    is touched before `open`. One event loop only; other processes may use the same file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        schema: Schema,
        writer: Pool,
        readers: Pool,
        limits: Limits | None = None,
        clock: Clock | None = None,
        random: random_module.Random | None = None,
        listeners: Listeners | None = None,
        connect: Connect | None = None,
        together: Together = one_after_another,
    ) -> None:
        """`together` does the works of several units at once, where that is cheaper than one after another."""
        self.path = Path(path)
        self._schema = schema
        self._pools = writer, readers
        self._limits = limits or Limits()
        self._monotonic = (clock or SystemClock()).monotonic
        self._random = random or random_module.Random()  # noqa: S311 - jitter, no secret
        self._listeners = listeners or Listeners()
        self._connect = connect or connect_sqlite
        self._together = together
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._watch: sqlite3.Connection | None = None
        self._turn = asyncio.Lock()
        """Held by who opens or closes."""
        self._fallback = 0
        self.is_new = False
        """Whether the last `open` made the file."""

    @property
    def limits(self) -> Limits:
        """The bounds in force; replace them while it runs, and calls that begin from then on keep the new ones.

        `Limits.checkpoint` alone is that of the last opening.
        """
        return self._limits

    @limits.setter
    def limits(self, new: Limits) -> None:
        self._limits = new
        if self._writer is not None:
            self._writer.limits = new
        if self._readers is not None:
            self._readers.limits = new

    def __repr__(self) -> str:
        state = self._writer.state() if self._writer is not None and self._readers is not None else "closed"
        return f"Database({str(self.path)!r}, {state})"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Make the file if there is none and bring its schema up to date.

        Raises `StoreUnavailable` or `StorageError` whose one sentence names the file.
        """
        async with self._turn:
            if self._readers is not None:
                self.is_new = False
                return
            await self._close()  # what a close that was cut short has left
            await self._begin()

    async def _begin(self) -> None:
        writing, reading = self._pools
        opening = asyncio.ensure_future(writing.run(self._open))
        try:
            group, self._watch = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise
        except Overloaded as error:
            raise self._overloaded(error) from error
        self._writer = Writer(str(self.path), group, pool=writing, listeners=self._listeners)
        self._readers = Readers(
            self.path,
            pool=reading,
            limits=self._limits,
            random=self._random,
            monotonic=self._monotonic,
            connect=self._connect,
        )

    async def close(self) -> None:
        """Commit what waits and close every connection. The pools stay their owner's to close.

        Where it is cut short, because it is cancelled or with `StoreUnavailable`, the next one goes on with it.
        """
        async with self._turn:
            await self._close()

    async def _close(self) -> None:
        readers, self._readers = self._readers, None
        if readers is not None:
            await readers.close()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
        if self._writer is not None:
            try:
                await self._writer.close()
            except Overloaded as error:
                raise self._overloaded(error) from error
            self._writer = None

    def _overloaded(self, error: Overloaded) -> StoreUnavailable:
        return StoreUnavailable(f"{self.path}: the writer's thread is taken", retry_after=error.retry_after)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the next group and return its result once it is durable.

        `work` runs in the writer's thread, twice if another one of its group failed: it must be quick, touch nothing
        but the connection, and end no transaction itself. What it raises reaches this caller alone. A unit that was
        not begun within the limits' deadline never is.
        """
        if self._writer is None:
            raise StoreUnavailable(f"{self.path}: the store is closed")
        return await self._writer.run(work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a connection that cannot write, and return its result."""
        if self._readers is None:
            raise StoreUnavailable(f"{self.path}: the store is closed")
        return await self._readers.run(work)

    def data_version(self) -> int:
        """Return a number that any commit to the file moves. Some 4 us on shared memory, so it needs no thread."""
        if self._watch is None:
            raise StoreUnavailable(f"{self.path}: the store is closed")
        try:
            return int(self._watch.execute("PRAGMA data_version").fetchall()[0][0])
        except sqlite3.Error:  # unknown, so "something may have changed"
            self._fallback -= 1
            return self._fallback

    def _open(self) -> tuple[GroupCommit, sqlite3.Connection]:
        self.is_new = prepare_file(self.path)
        end = self._monotonic() + self._limits.deadline
        group: GroupCommit | None = None

        def backoff(error: sqlite3.Error) -> None:
            if self._monotonic() >= end:
                raise error
            sleep(self._random.uniform(*self._limits.retry))

        try:
            connection = open_writer(self.path, self._schema, connect=self._connect, backoff=backoff)
            if self._limits.checkpoint:
                connection.execute("PRAGMA wal_autocheckpoint=0")
            group = GroupCommit(
                connection,
                self.path,
                together=self._together,
                limits=self._limits,
                random=self._random,
                monotonic=self._monotonic,
            )
            return group, open_reader(self.path, connect=self._connect)
        except (*DRIVER_ERRORS, StorageError) as error:
            if group is not None:
                group.close()
            if isinstance(error, StorageError):
                raise
            raise translate(error, self.path) from error


def _close_unused(opening: asyncio.Future[tuple[GroupCommit, sqlite3.Connection]]) -> None:
    """Close what a thread went on opening for a caller that was cancelled."""
    if not opening.cancelled() and opening.exception() is None:
        group, watch = opening.result()
        group.close()
        watch.close()
