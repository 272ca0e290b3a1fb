"""The way from the outbox to a broker: nothing lost, nothing out of order, bounded."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from astra_core.errors import CommitConflict, MessagingUnavailable, StoreUnavailable
from astra_core.events import MessageRefused, OutboxRelayed, RelayFailed
from astra_core.messaging import MemoryMessaging
from astra_core.messaging.messages import MAX_DATA
from astra_core.resilience import Constant
from astra_core.storage import Collection, Publish, Require, Sent
from astra_core.workflow import REFUSED, Relay
from tests.unit.astra_core.workflow.parcels import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from astra_core.messaging import Outgoing
    from astra_core.storage import Message, StoreEngine, Write
    from astra_core.testing import FakeClock


class Flaky:
    """A publisher that publishes the first `takes` messages of the next call and then is away."""

    def __init__(self) -> None:
        self.messaging = MemoryMessaging()
        self.takes: int | None = None

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish, or break off."""
        takes, self.takes = self.takes, None
        await self.messaging.publish(messages[:takes])
        if takes is not None:
            raise MessagingUnavailable("gone half-way")

    async def published(self, topic: str = "t") -> list[str]:
        """Return the ids in the topic, in order; what a consumer would see next."""
        return [message.id for message in await self.messaging.consumer(topic, group="test").receive(limit=1000)]


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreEngine]:
    """A store with an outbox."""
    async with open_store(request.param, tmp_path, [REFUSED, Collection(name="fences")]) as opened:
        yield opened


@pytest.fixture
async def broker() -> AsyncIterator[Flaky]:
    """A broker that can break off."""
    flaky = Flaky()
    async with flaky.messaging:
        yield flaky


async def fill(store: StoreEngine, count: int, *, start: int = 0) -> list[str]:
    """Leave messages of three keys in the outbox; returns their ids."""
    ids = [f"m{number}" for number in range(start, start + count)]
    await store.commit([Publish(topic="t", key=f"k{n % 3}", data=b"x", id=each) for n, each in enumerate(ids)])
    return ids


async def test_a_batch_leaves_the_outbox_once_it_is_acknowledged(store: StoreEngine, broker: Flaky) -> None:
    """Rounds take `batch` messages each, in the order of their commits, until nothing waits."""
    ids = await fill(store, 7)
    told: list[object] = []
    relay = Relay(store, broker, batch=5, listeners=told.append)
    assert await relay.round() == 5
    assert relay.depth == 2
    assert [await relay.round(), await relay.round()] == [2, 0]
    assert await broker.published() == ids
    assert await store.waiting() == relay.depth == 0
    assert [event.sent for event in told if isinstance(event, OutboxRelayed)] == [5, 2]


async def test_a_batch_that_broke_off_is_published_again(store: StoreEngine, broker: Flaky) -> None:
    """What was half published comes again with the same ids: the first sight of each is in order."""
    ids = await fill(store, 4)
    relay = Relay(store, broker)
    broker.takes = 2
    with pytest.raises(MessagingUnavailable):
        await relay.round()
    assert relay.depth == 4
    await relay.round()
    seen = await broker.published()
    assert seen == [*ids[:2], *ids]
    assert list(dict.fromkeys(seen)) == ids


async def test_an_outbox_that_could_not_be_marked_is_published_again(store: StoreEngine, broker: Flaky) -> None:
    """The place is the outbox itself: without the mark nothing has left it."""
    ids = await fill(store, 3)
    relay = Relay(Unmarkable(store), broker)
    with pytest.raises(StoreUnavailable):
        await relay.round()
    assert await store.waiting() == 3
    await relay.round()
    assert await broker.published() == [*ids, *ids]
    assert await store.waiting() == 0


async def test_a_message_without_an_id_gets_that_of_its_number(store: StoreEngine, broker: Flaky) -> None:
    """It is the same each time it is published."""
    (number,) = await store.commit([Publish(topic="t", key="k", data=b"")])
    await Relay(store, broker, name="shop").round()
    assert await broker.published() == [f"shop-{number}"]


async def test_what_can_never_be_published_is_put_aside(store: StoreEngine, broker: Flaky) -> None:
    """It is kept for people, told, and holds nothing up."""
    told: list[object] = []
    one, huge, last = await store.commit(
        [
            Publish(topic="t", key="k", data=b"", id="one"),
            Publish(topic="t", key="k", data=b"x" * (MAX_DATA + 1), id="huge"),
            Publish(topic="no name", key="k", data=b"", id="last"),
        ]
    )
    assert await Relay(store, broker, listeners=told.append).round() == 3
    assert await broker.published() == ["one"]
    assert await store.waiting() == 0
    assert [event for event in told if isinstance(event, MessageRefused)] == [
        MessageRefused("outbox", "t"),
        MessageRefused("outbox", "no name"),
    ]
    assert await store.get(REFUSED.name, str(one)) is None
    assert await store.get(REFUSED.name, str(huge)) is not None
    record = await store.get(REFUSED.name, str(last))
    assert record is not None
    message, why = msgspec.json.decode(record.value)
    assert (message["topic"], message["id"]) == ("no name", "last")
    assert "no name" in why


async def test_it_waits_for_a_broker_that_is_away(store: StoreEngine, broker: Flaky, clock: FakeClock) -> None:
    """It asks again after each wait, tells how long the oldest has waited, and goes on where it was."""
    told: list[object] = []
    relay = Relay(store, broker, backoff=Constant(2.0), clock=clock, random=Random(1), listeners=told.append)
    ids = await fill(store, 3)
    await broker.messaging.close()
    running = asyncio.create_task(relay.run())
    await until(clock, lambda: len(told) >= 3)
    assert set(told) == {RelayFailed("outbox", "MessagingUnavailable", 2.0)}
    assert relay.depth == 3
    assert relay.age >= 4.0
    await broker.messaging.open()
    await until(clock, lambda: relay.depth == 0)
    assert relay.age == 0.0
    assert await broker.published() == ids
    running.cancel()
    await asyncio.wait((running,))


async def test_it_is_woken_by_who_committed(store: StoreEngine, broker: Flaky) -> None:
    """A relay at rest looks at once when it is told to, and by itself after `idle` seconds."""
    relay = Relay(store, broker, idle=3600.0)
    running = asyncio.create_task(relay.run())
    await asyncio.sleep(0.05)
    ids = await fill(store, 1)
    relay.wake()
    for _ in range(500):
        if not await store.waiting():
            break
        await asyncio.sleep(0.01)
    assert await broker.published() == ids
    running.cancel()
    await asyncio.wait((running,))


async def test_it_is_woken_while_it_looks(store: StoreEngine, broker: Flaky) -> None:
    """What was committed after a round had read is looked for at once, not after `idle` seconds."""
    ids: list[str] = []

    async def commit() -> None:
        ids.extend(await fill(store, 1))
        relay.wake()

    relay = Relay(Late(store, commit), broker, idle=3600.0)
    running = asyncio.create_task(relay.run())
    for _ in range(500):
        if ids and not await store.waiting():
            break
        await asyncio.sleep(0.01)
    assert await broker.published() == ids
    running.cancel()
    await asyncio.wait((running,))


async def test_a_fence_that_fell_ends_it(store: StoreEngine, broker: Flaky) -> None:
    """Who lost the lease marks nothing and stops, though what it published stays published."""
    await fill(store, 1)
    relay = Relay(store, broker, fence=lambda: [Require(collection="fences", key="relay", version=1)])
    with pytest.raises(CommitConflict):
        await relay.run()
    assert await store.waiting() == 1
    assert (relay.depth, relay.age) == (0, 0.0)


async def test_two_relays_lose_nothing(store: StoreEngine, broker: Flaky) -> None:
    """Whatever they publish twice, the first sight of each message is in the order of commits."""
    relays = [Relay(store, broker, batch=batch) for batch in (3, 7)]
    ids: list[str] = []
    for turn in range(10):
        ids += await fill(store, 10, start=10 * turn)
        await asyncio.gather(*(relay.round() for relay in relays))
    while await store.waiting():
        await asyncio.gather(*(relay.round() for relay in relays))
    assert list(dict.fromkeys(await broker.published())) == ids


async def until(clock: FakeClock, condition: object) -> None:
    """Let time pass until something holds."""
    assert callable(condition)
    for _ in range(1_000):
        if condition():
            return
        clock.advance(0.1)
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to that")


class Late:
    """A store with which something happens after the first look at the outbox, before the answer is there."""

    def __init__(self, store: StoreEngine, happens: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._happens: Callable[[], Awaitable[None]] | None = happens
        self.get, self.find, self.counts, self.positions = store.get, store.find, store.counts, store.positions
        self.events, self.commit, self.waiting = store.events, store.commit, store.waiting

    async def messages(self, *, after: int = 0, limit: int = 1000) -> tuple[Message, ...]:
        """Read, and answer late."""
        found = await self._store.messages(after=after, limit=limit)
        happens, self._happens = self._happens, None
        if happens is not None:
            await happens()
        return found


class Unmarkable:
    """A store that refuses the first mark."""

    def __init__(self, store: StoreEngine) -> None:
        self._store = store
        self._refused = False
        self.get, self.find, self.counts, self.positions = store.get, store.find, store.counts, store.positions
        self.events, self.messages, self.waiting = store.events, store.messages, store.waiting

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Commit, but not the first mark."""
        if not self._refused and any(isinstance(write, Sent) for write in writes):
            self._refused = True
            raise StoreUnavailable("not now")
        return await self._store.commit(writes)
