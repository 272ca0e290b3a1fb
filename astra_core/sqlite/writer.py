"""The loop's half of the writer: queue, deadlines, and handing groups to the thread that commits them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from astra_core.errors import Overloaded, StoreUnavailable
from astra_core.events import GroupCommitted, WriterContended
from astra_core.sqlite.unit import Unit, take

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Coroutine

    from astra_core.events import Listeners
    from astra_core.sqlite.group import Done, GroupCommit
    from astra_core.sqlite.limits import Limits
    from astra_core.sqlite.pool import Pool

__all__ = ["Writer"]

T = TypeVar("T")
_log = logging.getLogger("astra.sqlite")


class Writer:
    """Gathers units while a group is being committed; the next group takes them all.

    `groups` and `units` count what was committed. A caller's cancellation leaves its unit in place.
    """

    def __init__(self, name: str, group: GroupCommit, *, pool: Pool, listeners: Listeners) -> None:
        self._name = name
        self._group = group
        self._tell_waiting = group.gathering.tell
        self._pool = pool
        self._limits = group.limits
        self._listeners = listeners
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Unit] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False
        self.groups = 0
        self.units = 0

    @property
    def limits(self) -> Limits:
        """The bounds in force, here and for the groups."""
        return self._limits

    @limits.setter
    def limits(self, new: Limits) -> None:
        self._limits = self._group.limits = new

    def __len__(self) -> int:
        return len(self._queue)

    def run(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Return the future of what `work` returns, done once that is durable; it may hold `StoreUnavailable`.

        Raises `StoreUnavailable` at once where the unit is not taken. Cancelling the future leaves the unit in place.
        """
        if self._closed:
            raise StoreUnavailable(f"{self._name}: the store is closed")
        if len(self._queue) >= self._limits.queue:
            full = Overloaded(f"the writer of {self._name}", limit=self._limits.queue)
            raise StoreUnavailable(f"{self._name}: {len(self._queue)} commits wait already") from full
        future: asyncio.Future[T] = self._loop.create_future()
        unit = Unit(work, future, self._loop.time() + self._limits.deadline)
        self._queue.append(unit)
        self._tell_waiting(len(self._queue))
        if self._watch is None:
            self._watch = self._loop.call_at(unit.due, self._expire)
        if self._pump is None:
            self._start(self._drain())
        return future

    async def close(self) -> None:
        """Refuse new units, commit those waiting, close the connection."""
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        while self._pump is not None:
            await asyncio.wait([self._pump])
        if self._watch is not None:
            self._watch.cancel()
        await self._pool.run(self._group.close)

    def _expire(self) -> None:
        """Refuse the units that wait too long. All may wait equally long, so they fall due in order: one timer does.

        A deadline that an operator shortens meanwhile holds for what comes after those that wait already.
        """
        self._watch = None
        while (unit := take(self._queue)) is not None:
            if unit.due > self._loop.time():
                self._queue.appendleft(unit)
                self._watch = self._loop.call_at(unit.due, self._expire)
                return
            unit.error = StoreUnavailable(f"{self._name}: the writer did not get to this commit in time")
            unit.settle()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._pump = self._loop.create_task(work)
        self._pump.add_done_callback(self._note_end)

    def _note_end(self, pump: asyncio.Task[None]) -> None:
        """Tidy up behind a task that was cancelled before its first step: nothing of it ran, not even a `finally`."""
        if self._pump is pump:
            self._pump = None
            self._abandon(asyncio.CancelledError())

    async def _drain(self) -> None:
        try:
            while self._queue:
                await self._pool.run(self._group.drain, self._queue, self._hand_over)
        except Exception as error:
            _log.exception("the writer of %s failed", self._name)
            self._abandon(error)
        except asyncio.CancelledError as error:
            self._abandon(error)
            raise
        finally:
            self._pump = None
        if self._idle is not None:
            self._idle.cancel()
        if not self._closed:
            self._idle = self._loop.call_later(self._limits.idle, self._rest)

    def _rest(self) -> None:
        """Queue a checkpoint as if it were a drain, so that it never runs beside one."""
        self._idle = None
        if self._pump is None and not self._closed:
            self._start(self._checkpoint())

    async def _checkpoint(self) -> None:
        try:
            await self._pool.run(self._group.checkpoint)
        except Exception:
            _log.exception("the checkpoint of %s failed", self._name)
        except asyncio.CancelledError as error:
            self._abandon(error)
            raise
        finally:
            self._pump = None
        if self._queue:
            self._start(self._drain())

    def _abandon(self, cause: BaseException) -> None:
        while (unit := take(self._queue)) is not None:
            unit.error = StoreUnavailable(f"{self._name}: the writer stopped")
            unit.error.__cause__ = cause
            unit.settle()

    def _hand_over(self, done: Done) -> None:
        """Called in the writer's thread, once a group."""
        try:
            self._loop.call_soon_threadsafe(self._settle, done)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _settle(self, done: Done) -> None:
        for unit in done.units:
            unit.settle()
        if done.committed:
            self.groups += 1
            self.units += done.committed
        if self._listeners:
            self._tell(done)

    def _tell(self, done: Done) -> None:
        if done.tries:
            self._listeners(WriterContended(done.tries, done.waited))
        if done.committed:
            self._listeners(GroupCommitted(done.committed, done.seconds, done.waited))

    def state(self) -> dict[str, Any]:
        """Return the writer's figures, for readiness and diagnosis."""
        return {"waiting": len(self._queue), "groups": self.groups, "units": self.units}
