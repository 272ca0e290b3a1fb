"""The way of messages from the outbox of a store to a broker: at least once, in order per key."""

from __future__ import annotations

import random as random_module
from typing import TYPE_CHECKING

import msgspec

from astra_core.clock import SystemClock
from astra_core.errors import CommitConflict, MessagingError, StorageError
from astra_core.events import Listeners, MessageRefused, OutboxRelayed, RelayFailed
from astra_core.messaging.doorbell import Doorbell
from astra_core.messaging.messages import Outgoing
from astra_core.resilience.backoff import EqualJitter
from astra_core.storage.records import Collection
from astra_core.storage.writes import Delete, Insert, Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from astra_core.clock import Clock
    from astra_core.events import Listener
    from astra_core.messaging.port import Publisher
    from astra_core.resilience.backoff import Backoff
    from astra_core.storage.history import Message
    from astra_core.storage.writes import Write
    from astra_core.workflow.runner import StoreWithHistory

__all__ = ["REFUSED", "Relay"]

REFUSED = Collection(name="outbox_refused")
"""Messages that no broker takes (too large, a topic that is no name), by their number, for people to look at."""

_encode = msgspec.json.Encoder().encode


class Relay:
    """Publishes what waits in the outbox of `store`, `batch` messages at a time, and drops what was acknowledged.

    Its place is the outbox itself, so it cannot be lost: a crash or an error between publishing and dropping publishes
    a batch again, with the same ids. A broker or a store that is away is asked again after a wait of `backoff`. A
    message that can never be published goes to the collection `REFUSED`, and those behind it go on.

    One at a time, in the work of a lease, publishes each message about once; two publish duplicates and lose nothing.
    `fence` are requirements for the commit that drops messages.
    """

    def __init__(
        self,
        store: StoreWithHistory,
        publisher: Publisher,
        *,
        name: str = "outbox",
        batch: int = 200,
        idle: float = 0.05,
        backoff: Backoff | None = None,
        fence: Callable[[], Sequence[Write]] = tuple,
        clock: Clock | None = None,
        random: random_module.Random | None = None,
        listeners: Listener | None = None,
    ) -> None:
        """`idle` is the wait in seconds after it found nothing; `name` begins the ids of messages that have none."""
        self.name = name
        self.depth = 0
        """Messages that wait, as it saw last."""
        self._store = store
        self._publisher = publisher
        self._batch = batch
        self._idle = idle
        self._backoff = backoff or EqualJitter(base=0.1, cap=5.0)
        self._fence = fence
        self._clock = clock or SystemClock()
        self._random = random or random_module.Random()  # noqa: S311 - jitter
        self._listener = listeners or Listeners()
        self._doorbell = Doorbell(self._clock)
        self._woken = False
        """Whether `wake` was called since the last round began."""
        self._head = 0
        """The number of the oldest message that waits; 0 for none."""
        self._since = 0.0

    def __repr__(self) -> str:
        return f"Relay({self.name!r}, depth={self.depth}, age={self.age:.1f})"

    @property
    def age(self) -> float:
        """Seconds for which the oldest message that waits has stood at the head; about 0 while all is well."""
        return self._clock.monotonic() - self._since if self._head else 0.0

    def wake(self) -> None:
        """Look at once: something was committed."""
        self._woken = True
        self._doorbell.ring()

    async def run(self) -> None:
        """Relay until cancelled, or until the fence no longer holds (`CommitConflict`). Then it sees nothing wait."""
        try:
            await self._run()
        finally:
            self._saw(())  # whoever relays from now on knows; an age that grows here would be nobody's

    async def _run(self) -> None:
        failures = 0
        while True:
            self._woken = False
            try:
                count = await self.round()
            except CommitConflict:
                raise
            except (MessagingError, StorageError) as error:
                failures += 1
                wait = self._backoff.delay(failures, 0.0, self._random)
                self._listener(RelayFailed(self.name, type(error).__name__, wait))
                await self._clock.sleep(wait)
                continue
            failures = 0
            if count < self._batch and not self._woken:
                await self._doorbell.wait(self._idle)

    async def round(self) -> int:
        """Publish one batch; returns how many messages it held. Raises what publisher and store raise."""
        messages = await self._store.messages(limit=self._batch)
        self._saw(messages)
        if not messages:
            return 0
        began = self._clock.monotonic()
        try:
            refused = await self._publish(messages)
            await self._store.commit([*self._fence(), *_aside(refused), Sent(through=messages[-1].number)])
        except MessagingError:
            self.depth = await self._store.waiting()
            raise
        for message, _ in refused:
            self._listener(MessageRefused(self.name, message.topic))
        self._listener(OutboxRelayed(self.name, len(messages) - len(refused), self._clock.monotonic() - began))
        if len(messages) == self._batch:
            self.depth = await self._store.waiting()
        else:
            self._saw(())
        return len(messages)

    async def _publish(self, messages: Sequence[Message]) -> list[tuple[Message, str]]:
        """Publish in order; returns those that can never be, and why."""
        try:
            await self._publisher.publish([self._outgoing(message) for message in messages])
        except ValueError:
            return await self._publish_singly(messages)
        return []

    async def _publish_singly(self, messages: Sequence[Message]) -> list[tuple[Message, str]]:
        refused = []
        for message in messages:
            try:
                await self._publisher.publish([self._outgoing(message)])
            except ValueError as error:
                refused.append((message, str(error)))
        return refused

    def _outgoing(self, message: Message) -> Outgoing:
        return Outgoing(message.topic, message.key, message.data, message.id or f"{self.name}-{message.number}")

    def _saw(self, messages: Sequence[Message]) -> None:
        head = messages[0].number if messages else 0
        if head != self._head:
            self._head, self._since = head, self._clock.monotonic()
        self.depth = len(messages)


def _aside(refused: Sequence[tuple[Message, str]]) -> Iterator[Write]:
    """Yield what keeps messages, in place of what another relay may have written of them."""
    for message, why in refused:
        key = str(message.number)
        yield Delete(collection=REFUSED.name, key=key)
        yield Insert(collection=REFUSED.name, key=key, value=_encode((message, why)))
