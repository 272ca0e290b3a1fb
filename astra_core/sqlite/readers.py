"""Reads on connections of their own, each bounded in time."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from astra_core.errors import Overloaded, StoreUnavailable
from astra_core.sqlite.connections import open_reader
from astra_core.sqlite.failures import DRIVER_ERRORS, is_busy, translate

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from astra_core.sqlite.connections import Connect
    from astra_core.sqlite.limits import Limits
    from astra_core.sqlite.pool import Pool

__all__ = ["Readers"]

T = TypeVar("T")

_LOOK = 20_000
"""Instructions of SQLite's virtual machine, some 1 ms, between two looks at the clock."""


class _Reader:
    """A connection and the time at which what it runs is stopped."""

    __slots__ = ("_monotonic", "connection", "end")

    def __init__(self, connection: sqlite3.Connection, monotonic: Callable[[], float]) -> None:
        self.connection = connection
        self.end = float("inf")
        self._monotonic = monotonic
        connection.set_progress_handler(self._late, _LOOK)

    def _late(self) -> bool:
        return self._monotonic() >= self.end


class Readers:
    """Runs functions of a read-only connection in the pool's threads; opens as many connections as run at once."""

    def __init__(
        self,
        path: Path,
        *,
        pool: Pool,
        limits: Limits,
        random: random.Random,
        monotonic: Callable[[], float],
        connect: Connect,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._pool = pool
        self.limits = limits
        self._random = random
        self._monotonic = monotonic
        self._connect = connect
        self._pause = pause
        self._idle: deque[_Reader] = deque()
        self._closed = False

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` returned. Raises `StoreUnavailable` when it took longer than `Limits.read`."""
        if self._closed:
            raise StoreUnavailable(f"{self._path}: the store is closed")
        try:
            return await self._pool.run(self._read, work, deadline=self.limits.deadline)
        except TimeoutError as error:
            raise StoreUnavailable(f"{self._path}: the read did not end in time") from error
        except Overloaded as error:
            raise StoreUnavailable(f"{self._path}: too many reads wait", retry_after=error.retry_after) from error

    async def close(self) -> None:
        """Close idle connections; those in use close when their read ends."""
        self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread took it
                self._idle.pop().connection.close()

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        reader: _Reader | None = None
        end = self._monotonic() + self.limits.read
        try:
            while True:
                try:
                    reader = reader or self._take()
                    reader.end = end
                    return work(reader.connection)
                except sqlite3.OperationalError as error:  # a lock is met only while the file is opened or closed
                    if not is_busy(error) or self._monotonic() >= end:
                        raise
                    self._pause(self._random.uniform(*self.limits.retry))
        except DRIVER_ERRORS as error:
            raise translate(error, self._path) from error
        finally:
            if reader is not None:
                self._give_back(reader)

    def _take(self) -> _Reader:
        try:
            return self._idle.pop()
        except IndexError:
            return _Reader(open_reader(self._path, connect=self._connect), self._monotonic)

    def _give_back(self, reader: _Reader) -> None:
        reader.end = float("inf")
        if reader.connection.in_transaction:
            with contextlib.suppress(*DRIVER_ERRORS):
                reader.connection.execute("ROLLBACK")
        self._idle.append(reader)
        if self._closed:
            self._close_idle()
