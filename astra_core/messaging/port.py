"""The ports of messaging, shaped so that a log such as Kafka's fits behind them.

Topics hold messages in order. A group reads a topic once between all its consumers, whatever process they are in; each
group has a position of its own. Delivery is at least once: what was not acknowledged comes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.messaging.messages import Outgoing, Received, TopicState

__all__ = ["Consumer", "MessagingEngine", "Publisher"]


class Publisher(Protocol):
    """The writing side; one serves any number of topics and callers."""

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish `messages` in order; all are durable when it returns.

        Raises `MessagingUnavailable`: then none, the first few or all of them are there, so whoever publishes again
        gives them the same ids. Raises `ValueError`, and publishes none, when one of them can never be published.
        """
        ...


class Consumer(Protocol):
    """One member of a group that reads one topic. One call of `receive` at a time; nothing is shared before the first.

    While one consumer of a group holds the topic, the others receive nothing: so order holds for every key, and no two
    that live are given the same message. It holds it from its first `receive` until `release`, until its engine closes
    or its process ends; then another one goes on behind the group's position.
    """

    async def receive(self, *, limit: int = 100, wait: float = 0.0) -> Sequence[Received]:
        """Return the messages that follow those received, in order, at most `limit`; fewer when they are large.

        Waits up to `wait` seconds for the first one; () when there was none, or another consumer holds the topic. A
        call that was cancelled has received nothing. Raises `MessagingUnavailable`.
        """
        ...

    async def acknowledge(self, through: Received | int) -> None:
        """Move the group's position to this message or offset: all received up to it is done and not delivered again.

        It never moves back. Raises `ValueError` for what this consumer did not receive, `MessagingUnavailable`, and
        `ClaimLost` when another consumer was given the topic; then nothing is moved.
        """
        ...

    async def release(self) -> None:
        """Let another consumer of the group go on. What was received and not acknowledged is delivered again.

        This one may go on receiving, from the group's position, once it is given the topic again.
        """
        ...


class MessagingEngine(Protocol):
    """One engine's life and what it hands out: nothing is touched before `open`."""

    async def open(self) -> None:
        """Connect. Raises `MessagingError` in one clear sentence."""
        ...

    async def close(self) -> None:
        """Finish what was handed over, release every consumer, and disconnect."""
        ...

    def publisher(self) -> Publisher:
        """Return a publisher."""
        ...

    def consumer(self, topic: str, *, group: str) -> Consumer:
        """Return a consumer of `topic` in `group`, to be kept: the engine remembers it until it closes.

        A group that is new begins with the oldest message there is.
        """
        ...

    async def topics(self) -> Sequence[TopicState]:
        """Return what is kept of each topic and how far each group has come, for readiness and diagnosis."""
        ...

    async def forget(self, topic: str, *, group: str) -> None:
        """Drop a group that will never read again, so that nothing is kept for it. Its consumers lose their claim."""
        ...
