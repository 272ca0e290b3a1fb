"""Consumers that do each message's work once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from astra_core.errors import CommitConflict, LeaseLost, SlotMoved, StoreUnavailable
from astra_core.messaging import MemoryMessaging, Outgoing
from astra_core.resilience import Constant
from astra_core.storage import Add, Collection, Insert, Query, Require
from astra_core.workflow import Inbox, Subscriber
from tests.unit.astra_core.workflow.parcels import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from astra_core.messaging import Received
    from astra_core.storage import StoreEngine, Write
    from astra_core.testing import FakeClock


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreEngine]:
    """A store with an inbox."""
    async with open_store(request.param, tmp_path, [Inbox.collection("mails"), Collection(name="gates")]) as opened:
        yield opened


@pytest.fixture
async def messaging() -> AsyncIterator[MemoryMessaging]:
    """A broker."""
    async with MemoryMessaging() as opened:
        yield opened


async def count(message: Received) -> Sequence[Write]:
    """Count a message under its key."""
    return [Add(counters="c", amounts={message.key: 1})]


async def test_a_message_is_dealt_with_once(store: StoreEngine) -> None:
    """Its id is in the commit with its work; the second commit is none."""
    inbox = Inbox("mails", store)
    assert await inbox.once("m", [Add(counters="c", amounts={"a": 1})])
    assert not await inbox.once("m", [Add(counters="c", amounts={"a": 1})])
    assert await store.counts("c", ["a"]) == {"a": 1}


async def test_work_that_is_refused_leaves_the_message_open(store: StoreEngine) -> None:
    """A conflict of the work itself goes to the caller, and the message may be dealt with later."""
    inbox = Inbox("mails", store)
    work: list[Write] = [Require(collection="gates", key="g", version=1), Add(counters="c", amounts={"a": 1})]
    with pytest.raises(CommitConflict) as caught:
        await inbox.once("m", work)
    assert (caught.value.write, caught.value.key) == (0, "g")
    await store.commit([Insert(collection="gates", key="g", value=b"")])
    assert await inbox.once("m", work)
    assert not await inbox.once("m", [Require(collection="gates", key="g", version=7)])


async def test_an_inbox_forgets_what_is_old(store: StoreEngine, clock: FakeClock) -> None:
    """An id is known for `remember` seconds."""
    inbox = Inbox("mails", store, remember=60.0, clock=clock)
    await inbox.once("m", [])
    clock.advance(60.0)
    assert await inbox.forget() == 0
    clock.advance(0.1)
    assert await inbox.forget() == 1
    assert await inbox.once("m", [])


async def test_a_topic_is_counted_once_whatever_is_published_twice(
    store: StoreEngine, messaging: MemoryMessaging
) -> None:
    """Duplicates are recognised by id; a message without one counts for itself; the position moves."""
    await messaging.publish([Outgoing("t", "a", b"", id) for id in ("1", "2", "1", "", "")])  # noqa: A001
    subscriber = Subscriber(messaging.consumer("t", group="g"), Inbox("mails", store), count, wait=0.0)
    assert await subscriber.round() == 5
    assert await store.counts("c", ["a"]) == {"a": 4}
    (topic,) = await messaging.topics()
    assert topic.groups[0].behind == 0


async def test_a_batch_that_failed_half_way_is_done_once(store: StoreEngine, messaging: MemoryMessaging) -> None:
    """It is received again after a wait, and what was done of it is not done again."""
    tries = 0

    async def fragile(message: Received) -> Sequence[Write]:
        nonlocal tries
        tries += 1
        gate = [Require(collection="gates", key="g", version=1)] if tries == 3 else []
        return [*gate, *await count(message)]

    await messaging.publish([Outgoing("t", "a", b"", str(number)) for number in range(5)])
    consumer = messaging.consumer("t", group="g")
    subscriber = Subscriber(consumer, Inbox("mails", store), fragile, wait=0.01, backoff=Constant(0.001))
    running = asyncio.create_task(subscriber.run())
    for _ in range(500):
        if (await store.counts("c", ["a"]))["a"] == 5:
            break
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait((running,))
    assert await store.counts("c", ["a"]) == {"a": 5}


async def test_a_mistake_in_the_work_ends_it_with_the_message_open(
    store: StoreEngine, messaging: MemoryMessaging
) -> None:
    """An error that no waiting mends goes to the caller; another consumer of the group gets the message again."""

    async def mistaken(message: Received) -> Sequence[Write]:
        raise ZeroDivisionError

    await messaging.publish([Outgoing("t", "a", b"", "1")])
    with pytest.raises(ZeroDivisionError):
        await Subscriber(messaging.consumer("t", group="g"), Inbox("mails", store), mistaken).run()
    other = Subscriber(messaging.consumer("t", group="g"), Inbox("mails", store), count, wait=0.0)
    assert await other.round() == 1
    assert await store.counts("c", ["a"]) == {"a": 1}


async def test_a_message_that_is_given_up_holds_nobody_up(store: StoreEngine, messaging: MemoryMessaging) -> None:
    """What is written instead is committed with its id, and the messages behind it are dealt with."""

    async def picky(message: Received) -> Sequence[Write]:
        if message.id == "2":
            raise ZeroDivisionError
        return await count(message)

    def note(message: Received, error: Exception) -> Sequence[Write]:
        return [Insert(collection="gates", key=message.id, value=type(error).__name__.encode())]

    await messaging.publish([Outgoing("t", "a", b"", name) for name in ("1", "2", "3", "2")])
    subscriber = Subscriber(messaging.consumer("t", group="g"), Inbox("mails", store), picky, give_up=note, wait=0.0)
    assert await subscriber.round() == 4
    assert await store.counts("c", ["a"]) == {"a": 2}
    record = await store.get("gates", "2")
    assert record is not None
    assert record.value == b"ZeroDivisionError"


async def test_a_message_whose_work_cannot_be_stored_is_given_up(
    store: StoreEngine, messaging: MemoryMessaging
) -> None:
    """An impossible write is a mistake of the message like any other, though it shows only in the commit."""

    async def by_name(message: Received) -> Sequence[Write]:
        return [Insert(collection="gates", key=message.data.decode(), value=b"")]

    def note(message: Received, error: Exception) -> Sequence[Write]:
        return [Insert(collection="gates", key=f"bad {message.id}", value=type(error).__name__.encode())]

    await messaging.publish([Outgoing("t", "a", data, data.hex()) for data in (b"one\0", b"two")])
    subscriber = Subscriber(messaging.consumer("t", group="g"), Inbox("mails", store), by_name, give_up=note, wait=0.0)
    assert await subscriber.round() == 2
    record = await store.get("gates", f"bad {b'one'.hex()}00")
    assert record is not None
    assert record.value == b"ValueError"
    assert await store.get("gates", "two") is not None
    assert await subscriber.round() == 0


@pytest.mark.parametrize("error", [StoreUnavailable("away"), LeaseLost("sweeper", 1), SlotMoved(7, "b")], ids=repr)
async def test_what_says_nothing_of_a_message_gives_none_up(
    store: StoreEngine, messaging: MemoryMessaging, error: Exception
) -> None:
    """A store that is away and a lease that was lost leave it for later, or for the next holder."""
    given_up = []

    async def unlucky(message: Received) -> Sequence[Write]:
        raise error

    def note(message: Received, error: Exception) -> Sequence[Write]:
        given_up.append(message)
        return []

    await messaging.publish([Outgoing("t", "a", b"", "1")])
    consumer = messaging.consumer("t", group="g")
    with pytest.raises(type(error)):
        await Subscriber(consumer, Inbox("mails", store), unlucky, give_up=note, wait=0.0).round()
    await consumer.release()
    assert given_up == []
    assert len(await messaging.consumer("t", group="g").receive()) == 1


async def test_a_commit_that_meets_another_state_is_not_given_up(
    store: StoreEngine, messaging: MemoryMessaging
) -> None:
    """A fence that fell refuses the commit, and the message stays for who holds it now."""
    given_up = []

    async def fenced(message: Received) -> Sequence[Write]:
        return [Require(collection="gates", key="g", version=1)]

    def note(message: Received, error: Exception) -> Sequence[Write]:
        given_up.append(message)
        return []

    await messaging.publish([Outgoing("t", "a", b"", "1")])
    subscriber = Subscriber(messaging.consumer("t", group="g"), Inbox("mails", store), fenced, give_up=note, wait=0.0)
    with pytest.raises(CommitConflict):
        await subscriber.round()
    assert given_up == []


async def test_an_inbox_is_forgotten_as_fast_as_it_grows(
    store: StoreEngine, messaging: MemoryMessaging, clock: FakeClock
) -> None:
    """However large its batches, and after a time in which nothing was forgotten."""
    inbox = Inbox("mails", store, remember=60.0, clock=clock)
    subscriber = Subscriber(messaging.consumer("t", group="g"), inbox, nothing, batch=300, wait=0.0, clock=clock)
    left = []
    for turn in range(6):
        await messaging.publish([Outgoing("t", "a", b"", f"{turn}.{number}") for number in range(300)])
        assert await subscriber.round() == 300
        left.append(len((await store.find(Query(collection="mails", index="at", limit=2_000))).records))
        clock.advance(61.0 if turn >= 2 else 0.001)
    assert left == [300, 600, 900, 600, 300, 300]


async def nothing(message: Received) -> Sequence[Write]:
    """Write nothing."""
    return []
