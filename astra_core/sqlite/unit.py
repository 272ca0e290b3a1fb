"""A unit of work on its way through the writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections import deque
    from collections.abc import Callable

__all__ = ["Unit", "take"]


class Unit(Struct, eq=False):
    """A function of the connection, its caller's future, and until when (in the loop's time) it may be begun."""

    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    due: float
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        """Give the caller its result or its error, on the loop's thread."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


def take(queue: deque[Unit]) -> Unit | None:
    """Take the next unit; None when there is none.

    Writer and deadline race for units, in two threads. Who takes one decides what becomes of it, so a unit that was
    reported as not done is never done, and one that was begun is never reported as not done.
    """
    try:
        return queue.popleft()
    except IndexError:
        return None
