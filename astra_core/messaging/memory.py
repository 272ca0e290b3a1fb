"""Messaging in the memory of one process: the model the others are held against, and an engine for tests and trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.clock import SystemClock
from astra_core.errors import ClaimLost, MessagingUnavailable
from astra_core.events import Listeners
from astra_core.messaging.consumer import LogConsumer
from astra_core.messaging.doorbell import Doorbell
from astra_core.messaging.memory_topic import MemoryTopic
from astra_core.messaging.messages import check_names, check_outgoing
from astra_core.messaging.retain import Retain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from astra_core.clock import Clock
    from astra_core.events import MessagesTrimmed
    from astra_core.messaging.memory_topic import MemoryGroup
    from astra_core.messaging.messages import Outgoing, Received, TopicState
    from astra_core.messaging.port import Consumer, Publisher

__all__ = ["MemoryMessaging"]

_POLL = 3600.0
"""Seconds between two looks for news: all of it rings here, so this only bounds one sleep."""


class MemoryMessaging:
    """`MessagingEngine` over deques. Keeps nothing when the process ends."""

    def __init__(
        self, *, retain: Retain | None = None, clock: Clock | None = None, listeners: Listeners | None = None
    ) -> None:
        self._retain = retain or Retain()
        self._clock = clock or SystemClock()
        self._listeners = listeners or Listeners()
        self._doorbell = Doorbell(self._clock)
        self._topics: dict[str, MemoryTopic] = {}
        self._consumers: list[LogConsumer] = []
        self._open = False
        self.holders: dict[tuple[str, str], object] = {}
        """Who has a topic for a group."""
        self.moves = 0
        """Grows with whatever may be news to a consumer."""

    def __repr__(self) -> str:
        return f"MemoryMessaging({', '.join(f'{name}={len(topic)}' for name, topic in self._topics.items())})"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Begin to serve."""
        self._open = True

    async def close(self) -> None:
        """Refuse every further call; consumers that wait are told."""
        for consumer in self._consumers:
            await consumer.release()
        self._open = False
        self.news()

    def publisher(self) -> Publisher:
        """See `MessagingEngine.publisher`."""
        return self

    def consumer(self, topic: str, *, group: str) -> Consumer:
        """See `MessagingEngine.consumer`."""
        check_names(topic=topic, group=group)
        log = _GroupLog(self, topic, group)
        consumer = LogConsumer(log, name=f"{topic} for {group}", doorbell=self._doorbell, poll=_POLL, clock=self._clock)
        self._consumers.append(consumer)
        return consumer

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """See `Publisher.publish`."""
        check_outgoing(messages)
        self.serve()
        for message in messages:
            self.topic(message.topic).append(message)
        for name in dict.fromkeys(message.topic for message in messages):
            self.tell(self.topic(name).bound())
        self.news()

    async def topics(self) -> Sequence[TopicState]:
        """See `MessagingEngine.topics`."""
        self.serve()
        return [self._topics[name].state() for name in sorted(self._topics)]

    async def forget(self, topic: str, *, group: str) -> None:
        """See `MessagingEngine.forget`."""
        check_names(topic=topic, group=group)
        self.serve()
        if topic in self._topics:
            self._topics[topic].groups.pop(group, None)
            self.tell(self._topics[topic].trim())

    def serve(self) -> None:
        """Raise `MessagingUnavailable` unless it is open."""
        if not self._open:
            raise MessagingUnavailable("memory: messaging is closed")

    def topic(self, name: str) -> MemoryTopic:
        """Return a topic, a new one where there is none."""
        if name not in self._topics:
            self._topics[name] = MemoryTopic(name, self._retain)
        return self._topics[name]

    def news(self) -> None:
        """Wake the consumers that wait."""
        self.moves += 1
        self._doorbell.ring()

    def tell(self, event: MessagesTrimmed | None) -> None:
        """Tell the listeners, if anything happened."""
        if event is not None and self._listeners:
            self._listeners(event)


class _GroupLog:
    """See `Log`. It is itself what holds the group; a group that was forgotten and came again is another object."""

    def __init__(self, engine: MemoryMessaging, topic: str, group: str) -> None:
        self._engine = engine
        self._topic = topic
        self._group = group
        self._held: MemoryGroup | None = None

    async def claim(self) -> int | None:
        self._engine.serve()
        if self._engine.holders.setdefault((self._topic, self._group), self) is not self:
            return None
        self._held = self._engine.topic(self._topic).group(self._group)
        return self._held.position

    async def read(self, after: int, limit: int) -> list[Received]:
        self._engine.serve()
        return self._engine.topic(self._topic).read(after, limit)

    async def acknowledge(self, through: int) -> None:
        self._engine.serve()
        topic = self._engine.topic(self._topic)
        if self._held is None or topic.groups.get(self._group) is not self._held:
            raise ClaimLost(self._topic, self._group)
        self._held.position = max(self._held.position, through)
        self._engine.tell(topic.trim())

    async def release(self) -> None:
        self._held = None
        if self._engine.holders.get((self._topic, self._group)) is self:
            del self._engine.holders[self._topic, self._group]
            self._engine.news()

    def moved(self) -> int:
        self._engine.serve()
        return self._engine.moves
