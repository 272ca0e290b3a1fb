"""A request's `receive` that somebody listens to: how long the client kept us waiting, and whether it has gone.

Servers tell that a client has gone only to those who call `receive`, and cancel nobody. Calling it beside an
application that still reads the body would steal the body. An `Inbox` stands between from the first message on, so what
is read ahead is kept for the application.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.asgi import Message, Receive

__all__ = ["INBOX", "READ_AHEAD", "Inbox"]

INBOX = "astra.inbox"
"""The scope key of the request's inbox. Whoever put it there takes it out."""

READ_AHEAD = 64 * 1024
"""Bytes of body after which a watch reads no further ahead."""
MESSAGE = 256
"""Bytes that a message counts for beside its body: a client can send empty ones without an end (CVE-2019-9518)."""

_DISCONNECT = "http.disconnect"


class Inbox(Struct, eq=False):
    """Give its `receive` to the application in place of the server's. `now` is a monotonic clock in seconds."""

    source: Receive
    now: Callable[[], float]
    disconnected: bool = False
    """The client has gone, and the application was told, or we know it by having read ahead."""
    reading: int = 0
    """Calls of `receive` that wait now."""
    waited: float = 0.0
    """Seconds that the application waited for the request's body."""
    complete: bool = False
    """The application has the whole body."""
    held: deque[Message] | None = None
    """What was read ahead; None before anybody did."""
    reader: asyncio.Task[None] | None = None
    """Who reads ahead."""
    arrived: asyncio.Event | None = None

    async def receive(self) -> Message:
        """Return the next message of the client."""
        timed, began = not self.complete, self.now()
        self.reading += 1
        try:
            message = await (self.source() if self.held is None else self._next(self.held))
        finally:
            self.reading -= 1
            if timed:
                self.waited += self.now() - began
        if message["type"] == _DISCONNECT:
            self.disconnected = True
        elif not message.get("more_body", False):
            self.complete = True
        return message

    def watch(self, gone: Callable[[], None] | None = None) -> None:
        """Read ahead until the client goes, and call `gone` then.

        A body of which `READ_AHEAD` bytes wait for the application ends the watch; begin it anew now and then.
        """
        if self.disconnected:
            if gone is not None:
                gone()
        elif self.reader is None and not self.held:
            self.held = deque()
            self.arrived = asyncio.Event()
            reading = self._read_ahead(self.held, self.arrived, gone)
            # An empty context: what reads here works for no deadline and no span.
            self.reader = Context().run(asyncio.get_running_loop().create_task, reading)

    async def left(self) -> bool:
        """Whether the client has gone by now, as far as the server says so at once."""
        self.watch()
        for _ in range(2):  # one turn for the reader to begin, one for a server that answers in the next
            await asyncio.sleep(0)
        return self.disconnected

    def close(self) -> None:
        """Stop reading ahead."""
        if self.reader is not None:
            self.reader.cancel()
            self.reader = None

    async def _read_ahead(self, held: deque[Message], arrived: asyncio.Event, gone: Callable[[], None] | None) -> None:
        message: Message = {"type": ""}
        size, whole = 0, self.complete
        try:
            while message["type"] != _DISCONNECT and size < READ_AHEAD:
                message = await self.source()
                if whole and message["type"] != _DISCONNECT:
                    break  # who says more after the end of the body will not say when the client goes
                whole = not message.get("more_body", False)
                held.append(message)
                size += len(message.get("body", b"")) + MESSAGE
                arrived.set()
        except Exception:  # noqa: S110 - the application meets it when it reads
            pass
        finally:
            self.reader = None
            arrived.set()
        if message["type"] == _DISCONNECT:
            self.disconnected = True
            if gone is not None:
                gone()

    async def _next(self, held: deque[Message]) -> Message:
        while not held:
            if self.disconnected:
                return {"type": _DISCONNECT}
            if self.reader is None or self.arrived is None:
                return await self.source()
            self.arrived.clear()
            await self.arrived.wait()
        return held.popleft()

    def __repr__(self) -> str:
        return f"<Inbox waited={self.waited:.3f} s disconnected={self.disconnected}>"
