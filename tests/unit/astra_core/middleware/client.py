"""A client, as the server shows it to an application: a body in parts, and a departure when the test says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.unit.astra_core.asgi.driver import Recorder, http_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.asgi import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Client", "answering", "copying", "failing", "scope_of", "turns"]


def scope_of(path: str = "/", **more: Any) -> dict[str, Any]:
    """Return the scope of a request, with what `more` says."""
    return {**http_scope(path), **more}


class Client(Recorder):
    """Sends `parts` as the body, waits for `leave`, and keeps what it is sent. After `hold` parts it waits for `go`.

    With `once` its departure is told once, as hypercorn does, else again and again, as uvicorn does.
    """

    def __init__(self, *parts: bytes, hold: int | None = None, once: bool = False) -> None:
        super().__init__()
        self._once = once
        self._parts = list(parts) or [b""]
        self._hold = len(self._parts) if hold is None else hold
        self._go = asyncio.Event()
        self._gone = asyncio.Event()
        self.received = 0
        self.scope: dict[str, Any] = {}
        self._asked = self.overlaps = 0

    async def receive(self) -> Message:
        """Return the next part, or the departure."""
        self._asked += 1
        self.overlaps += self._asked > 1
        try:
            return await self._message()
        finally:
            self._asked -= 1

    async def _message(self) -> Message:
        if self.received == self._hold and self._parts:
            await self._either()
        if self._parts and not self._gone.is_set():
            self.received += 1
            body = self._parts.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self._parts)}
        await self._gone.wait()
        if self._once:
            self._gone = asyncio.Event()
        return {"type": "http.disconnect"}

    async def _either(self) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (self._go, self._gone)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def go(self) -> None:
        """Send the rest of the body."""
        self._go.set()

    def leave(self) -> None:
        """Close the connection."""
        self._gone.set()

    async def ask(self, app: ASGIApp, path: str = "/", **scope: Any) -> Client:
        """Make one request of `app` and wait for its end. Further words are the scope's."""
        self.scope = scope_of(path, **scope)  # as servers hold it
        await app(self.scope, self.receive, self.send)
        assert self.overlaps == 0  # a server need not bear two who ask at once
        return self

    def begin(self, app: ASGIApp, path: str = "/", **scope: Any) -> asyncio.Task[Client]:
        """Make the request in a task of its own."""
        return asyncio.ensure_future(self.ask(app, path, **scope))


async def turns(count: int = 20) -> None:
    """Let everybody run who can."""
    for _ in range(count):
        await asyncio.sleep(0)


def answering(status: int = 200, body: bytes = b"done", **headers: str) -> ASGIApp:
    """Return an application that answers at once. Underscores in header names stand for hyphens."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    return app


def failing(error: Callable[[], BaseException], *, status: int = 0) -> ASGIApp:
    """Return an application that raises, after the beginning of an answer when there is a `status`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if status:
            await send({"type": "http.response.start", "status": status, "headers": []})
        raise error()

    return app


def copying(app: ASGIApp) -> ASGIApp:
    """Return a foreign middleware round `app` that hands it a copy of the scope."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        await app(dict(scope), receive, send)

    return middleware
