"""Shutdown's last word: requests still under way when the drain timeout is over are found, cancelled and answered.

Nothing is kept of a request for this: at shutdown the event loop's tasks are looked through for those that stand inside
the stack. Keeping a set of them cost every redirect half a microsecond, and shutdown comes once.
"""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from astra_core.asgi import ClientLeft, Layer, Problem

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Exchange, Problems

__all__ = ["Drain", "Draining"]

_STOPPING = Problem(
    status=503,
    type="urn:astra:problem:shutting-down",
    title="Shutting down",
    detail="The server stopped before this request was done; try again.",
    retry_after=1.0,
)


class Drain:
    """Whether shutdown has begun. From then on whoever cancels a request, we or the server, means the shutdown.

    Count for metrics: requests `cancelled`.
    """

    def __init__(self) -> None:
        self.begun = False
        self.cancelled = 0

    def begin(self) -> None:
        """No new traffic is expected; what is under way may end."""
        self.begun = True

    def cancel(self, *, spare: asyncio.Task[Any] | None = None) -> int:
        """Cancel every request of the running loop; each that has not answered yet answers 503. Returns how many.

        `spare` is the task of the lifespan, which passes the stack as requests do.
        """
        self.begun = True
        found = [task for task in asyncio.all_tasks() if task is not spare and _is_inside_a_layer(task)]
        for task in found:
            task.cancel("the server is shutting down")
        self.cancelled += len(found)
        return len(found)

    def __repr__(self) -> str:
        return f"<Drain {'begun' if self.begun else 'not begun'}>"


class Draining(Layer):
    """Answers for the requests that shutdown cancelled."""

    def __init__(self, app: ASGIApp, *, drain: Drain, problems: Problems) -> None:
        super().__init__(app)
        self._drain = drain
        self._problems = problems

    def rescue(self, x: Exchange, error: BaseException) -> ASGIApp | None:
        """Answer 503; any other cancellation is not ours to answer."""
        task = asyncio.current_task()
        if not isinstance(error, asyncio.CancelledError) or task is None or not self._drain.begun:
            return None
        if x.started or isinstance(error, ClientLeft):
            return None  # half an answer is all it gets, or nobody waits for one
        task.uncancel()
        return self._problems.respond(_STOPPING, x.scope)


def _is_inside_a_layer(task: asyncio.Task[Any]) -> bool:
    """Follow what the task awaits, coroutine by coroutine, to the driver of a chain of layers."""
    awaited: object = task.get_coro()
    while isinstance(awaited, CoroutineType):
        if awaited.cr_code is Layer.__call__.__code__:
            return True
        awaited = awaited.cr_await
    return False
