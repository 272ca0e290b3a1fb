"""Timers that nearly never fire, at the price of a dict entry: deadlines of requests, waits in queues.

`loop.call_later` and `cancel` cost 0.8 us a request. Here an entry is put into a dict and taken out again, and one
task looks at the dict when the earliest entry that it knows of falls due. An entry later than that one costs the task
nothing, and most have left by then.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from astra_core.clock import SystemClock

if TYPE_CHECKING:
    from astra_core.clock import Clock

__all__ = ["Expiring", "Sweep"]

_log = logging.getLogger("astra.resilience")


class Expiring(Protocol):
    """What a sweep holds: `expire()` is called once, at the monotonic time `at` or up to a grain after it."""

    at: float

    def expire(self) -> None:
        """Act; a plain function that is quick and does not raise. The entry has left the sweep."""
        ...


class Sweep:
    """Calls `expire()` of entries that fall due, looking at most every `grain` seconds.

    Share one among all deadlines and limiters of an event loop. A look passes over every entry (0.05 us each); with
    requests that end early it happens about once a budget, not once a grain. For callers of one event loop at a time.
    """

    __slots__ = ("_task", "clock", "due", "entries", "grain", "loop", "now")

    def __init__(self, *, clock: Clock | None = None, grain: float = 0.01) -> None:
        if grain <= 0:
            raise ValueError("the grain of a sweep is a time above 0")
        self.clock: Clock = clock or SystemClock()
        self.now = self.clock.monotonic
        self.grain = grain
        self.entries: dict[Expiring, None] = {}
        self.due = inf
        """When the task looks next."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """The loop that it was last used on: `current_task(loop)` costs a third of `current_task()` on Python 3.11."""
        self._task: asyncio.Task[None] | None = None

    def add(self, entry: Expiring) -> None:
        """Take note of `entry`, which must hash by identity."""
        self.entries[entry] = None
        if entry.at < self.due:
            self.wake_at(entry.at)

    def remove(self, entry: Expiring) -> None:
        """Forget `entry`; nothing happens when it has expired or left already."""
        self.entries.pop(entry, None)

    def current_task(self) -> asyncio.Task[Any] | None:
        """The task that runs, found anew when the loop is another one than before."""
        self.loop = asyncio.get_running_loop()
        return asyncio.current_task(self.loop)

    def wake_at(self, due: float) -> None:
        """Look at `due`, for callers that put an entry into `entries` themselves to save a call."""
        if self._task is not None:
            self._task.cancel()
        self.due = due
        self.loop = asyncio.get_running_loop()
        # An empty context: that of the request which happens to start the task would live as long as the task.
        self._task = Context().run(self.loop.create_task, self._look_on())
        self._task.add_done_callback(self._ended)

    async def _look_on(self) -> None:
        while self.due < inf:
            await self.clock.sleep(max(0.0, self.due - self.now()))
            self.due = self._look(self.now())

    def _look(self, now: float) -> float:
        expired = [entry for entry in self.entries if entry.at <= now]
        for entry in expired:
            del self.entries[entry]
        for entry in expired:
            try:
                entry.expire()
            except Exception:  # the task keeps every other deadline of the process
                _log.exception("%r could not expire", entry)
        return max(min((entry.at for entry in self.entries), default=inf), now + self.grain)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is self._task:
            self._task = None
            self.due = inf

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"Sweep(entries={len(self)}, grain={self.grain})"
