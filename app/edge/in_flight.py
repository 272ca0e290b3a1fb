"""The requests being answered now: shutdown waits for them, and cancels those that do not end in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from astra_core.asgi import Layer, Problem

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Exchange, Problems

__all__ = ["InFlight", "Requests"]

_STOPPING = Problem(
    status=503,
    type="urn:astra:problem:shutting-down",
    title="Shutting down",
    detail="The server stopped before this request was done; try again.",
    retry_after=1.0,
)


class Requests:
    """The tasks of the requests under way. `loop` is set when it runs: knowing it makes the task cheaper to find."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.tasks: set[asyncio.Task[Any] | None] = set()
        self.draining = False
        """Shutdown began: whoever cancels a request now, we or the server, means the shutdown."""

    def cancel(self) -> int:
        """Cancel every request under way; each that has not answered yet answers 503. Returns how many."""
        self.draining = True
        for task in self.tasks:
            if task is not None:
                task.cancel("the server is shutting down")
        return len(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __repr__(self) -> str:
        return f"<Requests under way={len(self)}>"


class InFlight(Layer):
    """Keeps `requests` current, and answers for those that were cancelled."""

    def __init__(self, app: ASGIApp, *, requests: Requests, problems: Problems) -> None:
        super().__init__(app)
        self._requests = requests
        self._add = requests.tasks.add
        self._discard = requests.tasks.discard
        self._problems = problems

    def enter(self, x: Exchange) -> None:
        """Remember the task."""
        self._add(asyncio.current_task(self._requests.loop))

    def rescue(self, x: Exchange, error: BaseException) -> ASGIApp | None:
        """Answer for a request that the shutdown cancelled; any other cancellation is not ours to answer."""
        task = asyncio.current_task()
        if not isinstance(error, asyncio.CancelledError) or task is None or not self._requests.draining:
            return None
        if x.started:
            return None  # half an answer is all it gets
        task.uncancel()
        return self._problems.respond(_STOPPING, x.scope)

    def leave(self, x: Exchange) -> None:
        """Forget the task."""
        self._discard(asyncio.current_task(self._requests.loop))
