"""An engine in, an engine out, that tells of every call: how many messages, how long it took, and how it failed.

Put it right round the engine, inside `guarded`: then each try is told, without the waits of policies round it. What
concerns no message is not told. How far groups lag is told by `report`, which somebody calls every few seconds.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from astra_core.events import GroupBehind, MessagingCalled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from astra_core.clock import Clock
    from astra_core.events import Listener
    from astra_core.messaging.messages import Outgoing, Received, TopicState
    from astra_core.messaging.port import Consumer, MessagingEngine, Publisher

__all__ = ["observed", "report"]

T = TypeVar("T")


def observed(engine: MessagingEngine, *, name: str, listener: Listener, clock: Clock) -> MessagingEngine:
    """Return `engine`, with `listener` told `MessagingCalled` of each call; `name` is what the events call it."""
    return _Observed(engine, _Watch(name, listener, clock))


async def report(engine: MessagingEngine, listener: Listener) -> None:
    """Tell `listener` how far each group lags behind, one `GroupBehind` a group."""
    for topic in await engine.topics():
        for group in topic.groups:
            listener(GroupBehind(topic.topic, group.group, group.behind))


class _Watch:
    """Times a call and tells of it."""

    def __init__(self, engine: str, listener: Listener, clock: Clock) -> None:
        self._engine = engine
        self._listener = listener
        self._now = clock.monotonic

    async def __call__(
        self, operation: str, group: str, call: Awaitable[T], count: Callable[[T | None], Mapping[str, int]]
    ) -> T:
        """`count` says how many messages the result is about; it is asked of None when there is none."""
        began = self._now()
        try:
            result = await call
        except BaseException as error:  # a cancellation too: the time was spent
            spent = self._now() - began
            self._listener(MessagingCalled(self._engine, operation, count(None), group, spent, type(error).__name__))
            raise
        self._listener(MessagingCalled(self._engine, operation, count(result), group, self._now() - began, ""))
        return result


class _Observed:
    """See `observed`."""

    def __init__(self, engine: MessagingEngine, watch: _Watch) -> None:
        self._engine = engine
        self._watch = watch

    async def open(self) -> None:
        """See `MessagingEngine.open`."""
        await self._engine.open()

    async def close(self) -> None:
        """See `MessagingEngine.close`."""
        await self._engine.close()

    def publisher(self) -> Publisher:
        """See `MessagingEngine.publisher`."""
        return _Publisher(self._engine.publisher(), self._watch)

    def consumer(self, topic: str, *, group: str) -> Consumer:
        """See `MessagingEngine.consumer`."""
        return _Consumer(self._engine.consumer(topic, group=group), self._watch, topic, group)

    async def topics(self) -> Sequence[TopicState]:
        """See `MessagingEngine.topics`."""
        return await self._engine.topics()

    async def forget(self, topic: str, *, group: str) -> None:
        """See `MessagingEngine.forget`."""
        await self._engine.forget(topic, group=group)

    def __repr__(self) -> str:
        return f"observed({self._engine!r})"


class _Publisher:
    """See `observed`."""

    def __init__(self, publisher: Publisher, watch: _Watch) -> None:
        self._publisher = publisher
        self._watch = watch

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """See `Publisher.publish`."""
        topics = Counter(message.topic for message in messages)
        await self._watch("publish", "", self._publisher.publish(messages), lambda _: topics)

    def __repr__(self) -> str:
        return f"observed({self._publisher!r})"


class _Consumer:
    """See `observed`."""

    def __init__(self, consumer: Consumer, watch: _Watch, topic: str, group: str) -> None:
        self._consumer = consumer
        self._watch = watch
        self._topic = topic
        self._group = group

    async def receive(self, *, limit: int = 100, wait: float = 0.0) -> Sequence[Received]:
        """See `Consumer.receive`."""
        call = self._consumer.receive(limit=limit, wait=wait)
        return await self._watch("receive", self._group, call, lambda found: {self._topic: len(found or ())})

    async def acknowledge(self, through: Received | int) -> None:
        """See `Consumer.acknowledge`."""
        call = self._consumer.acknowledge(through)
        await self._watch("acknowledge", self._group, call, lambda _: {self._topic: 0})

    async def release(self) -> None:
        """See `Consumer.release`."""
        await self._consumer.release()

    def __repr__(self) -> str:
        return f"observed({self._consumer!r})"
