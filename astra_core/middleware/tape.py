"""The body of a request, remembered while it is read, so that it can be read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astra_core.asgi import Message, Receive

__all__ = ["Tape"]


class Tape:
    """A `receive` that can be wound back while no more than `limit` bytes of body were read through it from `source`.

    The tape of a `bodiless` request holds its one empty message from the beginning, whether or not it was read before.
    """

    __slots__ = ("_complete", "_limit", "_messages", "_place", "_size", "disconnected", "source", "whole")

    def __init__(self, source: Receive, *, limit: int, bodiless: bool = False) -> None:
        self.source = source
        self._limit = limit
        self._size = 0
        self._place = 0
        self._complete = bodiless
        self._messages: list[Message] = []
        if bodiless:
            self._messages.append({"type": "http.request", "body": b"", "more_body": False})
        self.whole = True
        """Whether it still holds everything that was read, so that `rewind` makes sense."""
        self.disconnected = False
        """The application was told that the client has gone."""

    def rewind(self) -> None:
        """Begin anew."""
        self._place = 0

    async def receive(self) -> Message:
        """Return the next message: from the tape, then from the client."""
        if self._place < len(self._messages):
            self._place += 1
            return self._messages[self._place - 1]
        message = await self.source()
        while self._complete and message["type"] == "http.request":  # the one of a bodiless request, not read before
            message = await self.source()
        if message["type"] == "http.request":
            self._keep(message)
        else:
            self.disconnected = True
        return message

    def _keep(self, message: Message) -> None:
        self._complete = not message.get("more_body", False)
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            self.whole = False
            self._messages.clear()
            self._place = 0
        else:
            self._messages.append(message)
            self._place += 1
