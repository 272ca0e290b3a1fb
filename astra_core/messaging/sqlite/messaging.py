"""The engine over one SQLite file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astra_core.clock import SystemClock
from astra_core.errors import MessagingUnavailable
from astra_core.events import Listeners
from astra_core.messaging.consumer import LogConsumer
from astra_core.messaging.doorbell import Doorbell
from astra_core.messaging.messages import check_names, check_outgoing
from astra_core.messaging.retain import Retain
from astra_core.messaging.sqlite import groups
from astra_core.messaging.sqlite.append import Append, more_to_trim, units
from astra_core.messaging.sqlite.member import Member, translated
from astra_core.messaging.sqlite.schema import SCHEMA
from astra_core.sqlite import Database

if TYPE_CHECKING:
    import random as random_module
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from astra_core.clock import Clock
    from astra_core.events import MessagesTrimmed
    from astra_core.messaging.messages import Outgoing, TopicState
    from astra_core.messaging.port import Consumer, Publisher
    from astra_core.sqlite import Connect, Limits, Pool

__all__ = ["SqliteMessaging"]


class SqliteMessaging:
    """`MessagingEngine` in one SQLite file, shared by the processes of a machine; the file is nobody else's.

    `writer` must have one thread. A consumer looks every `poll` seconds whether the file moved, which takes some 4 us
    and no thread: so much later, and the time of one read, a message of another process is there at the latest. One
    of this process wakes it at once. Building does no I/O.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        writer: Pool,
        readers: Pool,
        retain: Retain | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        random: random_module.Random | None = None,
        listeners: Listeners | None = None,
        connect: Connect | None = None,
        poll: float = 0.05,
    ) -> None:
        self._retain = retain or Retain()
        self._clock = clock or SystemClock()
        self._listeners = listeners or Listeners()
        self._doorbell = Doorbell(self._clock)
        self._poll = poll
        self._readers = readers
        self._consumers: list[LogConsumer] = []
        self._closing = False
        self.database = Database(
            path,
            schema=SCHEMA,
            writer=writer,
            readers=readers,
            limits=limits,
            clock=clock,
            random=random,
            connect=connect,
        )

    def __repr__(self) -> str:
        return f"SqliteMessaging({self.database!r})"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """See `Database.open`."""
        with translated():
            await self.database.open()
        self._closing = False

    async def close(self) -> None:
        """Release every consumer, commit what waits, and close. The pools stay their owner's to close."""
        self._closing = True
        for consumer in self._consumers:
            await consumer.release()
        await self.database.close()
        self._doorbell.ring()

    def _serve(self) -> None:
        """Raise where it is closed, or about to be: a group that was released may not be claimed again."""
        if self._closing:
            raise MessagingUnavailable(f"{self.database.path}: the store is closed")
        with translated():
            self.database.data_version()

    def publisher(self) -> Publisher:
        """See `MessagingEngine.publisher`."""
        return self

    def consumer(self, topic: str, *, group: str) -> Consumer:
        """See `MessagingEngine.consumer`."""
        check_names(topic=topic, group=group)
        member = Member(
            topic,
            group,
            database=self.database,
            pool=self._readers,
            folder=Path(f"{self.database.path}-groups"),
            retain=self._retain,
            trimmed=self._tell,
            released=self._doorbell.ring,
            serve=self._serve,
        )
        consumer = LogConsumer(
            member, name=f"{topic} for {group}", doorbell=self._doorbell, poll=self._poll, clock=self._clock
        )
        self._consumers.append(consumer)
        return consumer

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """See `Publisher.publish`."""
        check_outgoing(messages)
        for unit in units(messages):
            with translated():
                trims = await self.database.write(Append(unit, self._retain))
            self._doorbell.ring()
            for trimmed in trims:
                self._tell(trimmed)

    async def topics(self) -> Sequence[TopicState]:
        """See `MessagingEngine.topics`."""
        with translated():
            return await self.database.read(groups.states)

    async def forget(self, topic: str, *, group: str) -> None:
        """See `MessagingEngine.forget`."""
        check_names(topic=topic, group=group)
        with translated():
            trimmed = await self.database.write(
                lambda connection: groups.forget(connection, topic, group, self._retain)
            )
            self._tell(trimmed)
            while more_to_trim(trimmed):
                trimmed = await self.database.write(
                    lambda connection: groups.trim_named(connection, topic, self._retain)
                )
                self._tell(trimmed)

    def _tell(self, trimmed: MessagesTrimmed | None) -> None:
        if trimmed is not None and self._listeners:
            self._listeners(trimmed)
