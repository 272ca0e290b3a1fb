"""An answer of the inside that is held back while it may still be replaced by a better one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.errors import AstraError
from astra_core.resilience import parse_retry_after

if TYPE_CHECKING:
    from astra_core.asgi import Message, Send
    from astra_core.resilience import Deadline

__all__ = ["HeldAnswer", "RetryableAnswer"]


class RetryableAnswer(AstraError, ConnectionError):  # noqa: N818 - it is one
    """The inside answered with a `status` that asks to try again, after `retry_after` seconds if it said so.

    A `ConnectionError`, so that the default `retry_on` of a policy takes it for what it is.
    """

    def __init__(self, status: int, *, retry_after: float | None) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(f"the application answered {status}")


class HeldAnswer:
    """A `send` that keeps an answer of one of `statuses` to itself, up to `limit` bytes of body; others pass.

    When an answer begins to pass, the `deadline` of its try is lifted: it has no end any more.
    """

    __slots__ = ("_deadline", "_limit", "_messages", "_send", "_size", "_statuses", "passed")

    def __init__(self, send: Send, *, statuses: frozenset[int], limit: int, deadline: Deadline | None) -> None:
        self._send = send
        self._statuses = statuses
        self._limit = limit
        self._deadline = deadline
        self._messages: list[Message] = []
        self._size = 0
        self.passed = False
        """Whether an answer has begun to pass: nothing can replace it."""

    @property
    def status(self) -> int:
        """The status of the answer that is held; 0 when none is."""
        return int(self._messages[0]["status"]) if self._messages else 0

    async def send(self, message: Message) -> None:
        """Hold the message, or send it."""
        if self._messages:
            self._messages.append(message)
            self._size += len(message.get("body", b""))
            if self._size > self._limit:
                await self.release()
        elif message["type"] == "http.response.start" and message["status"] in self._statuses:
            self._messages.append(message)
        else:
            if message["type"] == "http.response.start":
                self._pass()
            await self._send(message)

    async def release(self) -> None:
        """Send what is held, if anything is."""
        messages, self._messages = self._messages, []
        if messages:
            self._pass()
        for message in messages:
            await self._send(message)

    def error(self, *, now: float) -> RetryableAnswer:
        """The held answer as an error; `now` is the wall time."""
        for name, value in self._messages[0].get("headers", ()):
            if name.lower() == b"retry-after":
                seconds = parse_retry_after(value.decode("latin-1"), now=now)
                return RetryableAnswer(self.status, retry_after=seconds)
        return RetryableAnswer(self.status, retry_after=None)

    def _pass(self) -> None:
        self.passed = True
        if self._deadline is not None:
            self._deadline.lift()
