"""Consumers that do each message's work once: its id is committed together with what the work writes."""

from __future__ import annotations

import random as random_module
from contextlib import suppress
from typing import TYPE_CHECKING

from astra_core.clock import SystemClock
from astra_core.errors import CommitConflict, CoordinationError, MessagingError, SlotMoved, StorageError
from astra_core.resilience.backoff import EqualJitter
from astra_core.workflow.ids import forget, ids, remember

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from astra_core.clock import Clock
    from astra_core.messaging.messages import Received
    from astra_core.messaging.port import Consumer
    from astra_core.resilience.backoff import Backoff
    from astra_core.storage.records import Collection
    from astra_core.storage.store import Store
    from astra_core.storage.writes import Write

__all__ = ["Inbox", "Subscriber"]

_FORGET = 200
_FORGET_EVERY = 1.0
"""Seconds between looks for ids to forget, once there are fewer of them than can be forgotten at once."""

_NOT_OF_THE_MESSAGE = (MessagingError, StorageError, CoordinationError, SlotMoved)
"""Errors that say something of the moment, and nothing of a message."""


class Inbox:
    """The ids of the messages that one consumer group has dealt with, each remembered for `remember` seconds.

    A duplicate that comes later than that is taken for a new message; it is meant to outlast every outage.
    """

    def __init__(self, name: str, store: Store, *, remember: float = 7 * 86_400.0, clock: Clock | None = None) -> None:
        self.name = name
        self._store = store
        self._remember = remember
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"Inbox({self.name!r})"

    @staticmethod
    def collection(name: str) -> Collection:
        """Return what a store must be told of to keep the inbox `name`."""
        return ids(name)

    def mark(self, message_id: str) -> Write:
        """Return the write that makes a commit happen once for a message; on a duplicate it is refused as `EXISTS`."""
        return remember(self.name, message_id, now=round(self._clock.time() * 1e6))

    async def once(self, message_id: str, writes: Sequence[Write]) -> bool:
        """Commit `writes` unless the message was dealt with before; returns whether they were written.

        Raises `CommitConflict` when one of them is refused; `write` is its place among them. The message counts as not
        dealt with then.
        """
        try:
            await self._store.commit([*writes, self.mark(message_id)])
        except CommitConflict:
            if await self._store.get(self.name, message_id) is None:
                raise
            return False
        return True

    async def forget(self, *, limit: int = _FORGET) -> int:
        """Forget ids that are older than that, at most `limit`; returns how many."""
        before = round((self._clock.time() - self._remember) * 1e6)
        return await forget(self._store, self.name, before=before, limit=limit)


class Subscriber:
    """Reads a topic and commits what `handle` makes of each message, once, however often it is delivered.

    `handle` decides and does nothing: what it returns is written together with the message's id. A broker or a store
    that is away, and a commit that met another state than it requires, are tried again after a wait of `backoff`. Any
    other error, of `handle` or of what it would write, ends `run`, with the message unacknowledged, unless
    `give_up(message, error)` says what to write instead: a record for people to look at, so that those behind it go on.
    A lease or a slot that was lost ends it all the same: its next holder deals with the message.

    A message without an id is known by topic and offset, for as long as the broker counts those on.
    """

    def __init__(
        self,
        consumer: Consumer,
        inbox: Inbox,
        handle: Callable[[Received], Awaitable[Sequence[Write]]],
        *,
        give_up: Callable[[Received, Exception], Sequence[Write]] | None = None,
        batch: int = 100,
        wait: float = 1.0,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        random: random_module.Random | None = None,
    ) -> None:
        self._consumer = consumer
        self._inbox = inbox
        self._handle = handle
        self._give_up = give_up
        self._batch = batch
        self._wait = wait
        self._backoff = backoff or EqualJitter(base=0.1, cap=5.0)
        self._clock = clock or SystemClock()
        self._random = random or random_module.Random()  # noqa: S311 - jitter
        self._forget_at = 0.0

    def __repr__(self) -> str:
        return f"Subscriber({self._inbox.name!r}, {self._consumer!r})"

    async def run(self) -> None:
        """Deal with messages until cancelled; what was received and not done is left to the next one."""
        failures = 0
        try:
            while True:
                try:
                    await self.round()
                    failures = 0
                except (MessagingError, StorageError):
                    failures += 1
                    await self._release()
                    await self._clock.sleep(self._backoff.delay(failures, 0.0, self._random))
        finally:
            await self._release()

    async def round(self) -> int:
        """Deal with one batch; returns how many messages it held. After an error the consumer is to be released."""
        messages = await self._consumer.receive(limit=self._batch, wait=self._wait)
        for message in messages:
            await self._deal(message)
        if messages:
            await self._consumer.acknowledge(messages[-1])
        most = max(_FORGET, 2 * self._batch)  # more than a round adds, so that what is left over is caught up with
        if self._clock.monotonic() >= self._forget_at and await self._inbox.forget(limit=most) < most:
            self._forget_at = self._clock.monotonic() + _FORGET_EVERY
        return len(messages)

    async def _deal(self, message: Received) -> None:
        """Commit the work of a message, or what is to be written instead."""
        message_id = message.id or f"{message.topic}@{message.offset}"
        try:
            await self._inbox.once(message_id, await self._handle(message))
        except _NOT_OF_THE_MESSAGE:
            raise
        except Exception as error:
            if self._give_up is None:
                raise
            await self._inbox.once(message_id, self._give_up(message, error))

    async def _release(self) -> None:
        with suppress(MessagingError):  # a broker that is away gives it to others by itself
            await self._consumer.release()
