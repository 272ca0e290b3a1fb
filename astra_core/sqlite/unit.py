"""A unit of work on its way through the writer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections.abc import Callable

__all__ = ["Unit"]


class Unit:
    """A function of the connection, its caller's future, and who may decide what becomes of it.

    Writer and deadline race for a unit, in two threads: whoever claims it first decides, so one that was reported as
    not done is never done, and one that was begun is never reported as not done.
    """

    __slots__ = ("_claim", "error", "future", "result", "timer", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.timer: asyncio.TimerHandle | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self._claim = threading.Lock()

    def claim(self) -> bool:
        """Return True to the first caller only."""
        return self._claim.acquire(blocking=False)

    @property
    def claimed(self) -> bool:
        """Whether somebody decides, or decided, this unit."""
        return self._claim.locked()

    def settle(self) -> None:
        """Give the caller its result or its error, on the loop's thread."""
        if self.timer is not None:
            self.timer.cancel()
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)
