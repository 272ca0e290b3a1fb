"""A consumer over a log of which one member of a group holds the reading at a time: what our own engines share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from astra_core.errors import ClaimLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.clock import Clock
    from astra_core.messaging.doorbell import Doorbell
    from astra_core.messaging.messages import Received

__all__ = ["Log", "LogConsumer"]


class Log(Protocol):
    """What a consumer needs of an engine: one topic, as one member of one group sees it."""

    async def claim(self) -> int | None:
        """Take the topic for this member and return the group's position; None while another member has it.

        Doing so again while this member has it changes nothing.
        """
        ...

    async def read(self, after: int, limit: int) -> Sequence[Received]:
        """Return what follows offset `after`."""
        ...

    async def acknowledge(self, through: int) -> None:
        """Move the position, never back. Raises `ClaimLost`."""
        ...

    async def release(self) -> None:
        """Give the topic up."""
        ...

    def moved(self) -> int:
        """Return a number that differs from the last one when there may be news. Cheap."""
        ...


class LogConsumer:
    """See `Consumer`. It looks for news every `poll` seconds while it waits, and at once when this process publishes.

    It remembers what it returned, not what it read: the step that moves `_last` is the last one of `receive`, with no
    await behind it, so a cancelled call leaves every message to the next one.
    """

    def __init__(self, log: Log, *, name: str, doorbell: Doorbell, poll: float, clock: Clock) -> None:
        self._log = log
        self._name = name
        self._doorbell = doorbell
        self._poll = poll
        self._now = clock.monotonic
        self._last: int | None = None
        """The offset of the last message returned; None while another consumer may hold the topic."""
        self._seen: int | None = None
        """The log's number when there was nothing more to read."""
        self._receiving = False
        self._turn = 0
        """Grows with each release."""

    async def receive(self, *, limit: int = 100, wait: float = 0.0) -> Sequence[Received]:
        """See `Consumer.receive`."""
        if limit < 1:
            raise ValueError(f"a limit of {limit} receives nothing")
        if self._receiving:
            raise RuntimeError(f"{self._name} receives already: one call at a time keeps the order")
        self._receiving = True
        try:
            end = self._now() + wait
            while not (messages := await self._look(limit)):
                left = end - self._now()
                if left <= 0:
                    return ()
                await self._doorbell.wait(min(left, self._poll))
            self._last = messages[-1].offset
            return messages
        finally:
            self._receiving = False

    async def acknowledge(self, through: Received | int) -> None:
        """See `Consumer.acknowledge`."""
        self._log.moved()  # raises where the engine is closed
        offset = through if isinstance(through, int) else through.offset
        if self._last is None or offset > self._last:
            raise ValueError(f"{self._name} did not receive {offset}")
        try:
            await self._log.acknowledge(offset)
        except ClaimLost:
            await self.release()
            raise

    async def release(self) -> None:
        """See `Consumer.release`."""
        self._last = self._seen = None
        self._turn += 1
        await self._log.release()

    async def _look(self, limit: int) -> Sequence[Received]:
        """Look for news once. A release meanwhile, as an engine makes that closes, leaves nothing to return."""
        moved, after, turn = self._log.moved(), self._last, self._turn
        if after is None:
            after = await self._log.claim()
            if after is None or turn != self._turn:
                return ()
            self._last = after
        elif moved == self._seen:
            return ()
        messages = await self._log.read(after, limit)
        if turn != self._turn:
            return ()
        self._seen = None if messages else moved
        return messages

    def __repr__(self) -> str:
        state = "stands by" if self._last is None else f"received {self._last}"
        return f"Consumer({self._name}, {state})"
