"""Publishing and receiving: order, what a message keeps, waiting, positions."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from astra_core.messaging import Outgoing, Received
from tests.contract.messaging.conftest import datas, drain

if TYPE_CHECKING:
    from astra_core.messaging import MessagingEngine


def numbered(*numbers: int, topic: str = "t", key: str = "k") -> list[Outgoing]:
    """Messages that hold their numbers."""
    return [Outgoing(topic, key, b"%d" % number) for number in numbers]


async def test_a_message_arrives_whole(engine: MessagingEngine) -> None:
    """Topic, key, data and id come as they were published, whatever characters and bytes they are."""
    sent = [Outgoing("t", "schlüssel/🔑", b"\x00\xff", "id:1"), Outgoing("t", "", b"")]
    await engine.publisher().publish(sent)
    received = await engine.consumer("t", group="g").receive()
    assert [(m.topic, m.key, m.data, m.id) for m in received] == [(m.topic, m.key, m.data, m.id) for m in sent]
    assert all(type(message) is Received for message in received)
    assert received[0].offset < received[1].offset


async def test_messages_arrive_in_the_order_of_publishing_in_pages(engine: MessagingEngine) -> None:
    """Over several publishes and pages, no message is missing, double or out of order."""
    publisher, consumer = engine.publisher(), engine.consumer("t", group="g")
    await publisher.publish(numbered(*range(5)))
    await publisher.publish(numbered(*range(5, 12)))
    assert datas(await consumer.receive(limit=3)) == [b"0", b"1", b"2"]
    received = await drain(consumer, limit=2)
    assert datas(received) == [b"%d" % number for number in range(3, 12)]
    assert [m.offset for m in received] == sorted({m.offset for m in received})
    assert await consumer.receive() == ()


async def test_more_messages_than_an_engine_takes_at_once_are_published_in_order(engine: MessagingEngine) -> None:
    """A long publish is cut where the engine likes, and nowhere does the order break."""
    await engine.publisher().publish(numbered(*range(2_500)))
    received = await drain(engine.consumer("t", group="g"), limit=1_000)
    assert datas(received) == [b"%d" % number for number in range(2_500)]


async def test_large_messages_come_in_smaller_pages(engine: MessagingEngine) -> None:
    """Whatever the limit, what is large arrives, and all of it."""
    large = [Outgoing("t", "k", bytes([number]) * 1024 * 1024) for number in range(9)]
    await engine.publisher().publish(large)
    received = await drain(engine.consumer("t", group="g"))
    assert datas(received) == [message.data for message in large]


async def test_topics_do_not_mix(engine: MessagingEngine) -> None:
    """One publish may fill several topics; each is read by itself, in its order."""
    await engine.publisher().publish([Outgoing("a", "k", b"1"), Outgoing("b", "k", b"2"), Outgoing("a", "k", b"3")])
    assert datas(await engine.consumer("a", group="g").receive()) == [b"1", b"3"]
    assert datas(await engine.consumer("b", group="g").receive()) == [b"2"]
    assert await engine.consumer("c", group="g").receive() == ()


async def test_every_group_is_given_every_message(engine: MessagingEngine) -> None:
    """What one group reads and acknowledges is no other group's matter."""
    await engine.publisher().publish(numbered(1, 2))
    first, second = engine.consumer("t", group="first"), engine.consumer("t", group="second")
    received = await first.receive()
    assert datas(await second.receive(limit=1)) == [b"1"]
    await first.acknowledge(received[-1])
    assert datas(await second.receive()) == [b"2"]


async def test_a_receive_waits_for_the_first_message(engine: MessagingEngine) -> None:
    """It returns soon after the publish, and does not wait for its page to fill."""
    consumer = engine.consumer("t", group="g")
    waiting = asyncio.create_task(consumer.receive(wait=30.0))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await engine.publisher().publish(numbered(1))
    began = time.monotonic()
    assert datas(await waiting) == [b"1"]
    assert time.monotonic() - began < 5.0


async def test_a_receive_waits_no_longer_than_it_was_told(engine: MessagingEngine) -> None:
    """With nothing there the answer is empty, not before its time; without a wait it comes at once."""
    consumer = engine.consumer("t", group="g")
    began = time.monotonic()
    assert await consumer.receive() == ()
    assert await consumer.receive(wait=0.1) == ()
    assert 0.1 <= time.monotonic() - began < 10.0


async def test_a_cancelled_receive_loses_nothing(engine: MessagingEngine) -> None:
    """Wherever the cancellation strikes, the next call returns the same messages."""
    await engine.publisher().publish(numbered(1, 2))
    consumer = engine.consumer("t", group="g")
    for steps in range(12):
        receiving = asyncio.create_task(consumer.receive(wait=1.0))
        for _ in range(steps):
            await asyncio.sleep(0)
        receiving.cancel()
        (outcome,) = await asyncio.gather(receiving, return_exceptions=True)
        if not isinstance(outcome, BaseException):
            break
        await asyncio.sleep(0.02)
    else:
        outcome = await consumer.receive(wait=1.0)
    assert datas(outcome) == [b"1", b"2"]
    await engine.publisher().publish(numbered(3))
    assert datas(await consumer.receive(wait=1.0)) == [b"3"]


async def test_what_is_not_acknowledged_comes_again_after_a_release(engine: MessagingEngine) -> None:
    """The group's next consumer, and this one too, goes on behind the position."""
    await engine.publisher().publish(numbered(1, 2, 3))
    consumer = engine.consumer("t", group="g")
    received = await consumer.receive()
    await consumer.acknowledge(received[0])
    await consumer.release()
    assert datas(await consumer.receive()) == [b"2", b"3"]
    await consumer.release()
    assert datas(await engine.consumer("t", group="g").receive()) == [b"2", b"3"]


async def test_a_position_never_moves_back(engine: MessagingEngine) -> None:
    """Acknowledging an earlier message, by itself or by its offset, changes nothing."""
    await engine.publisher().publish(numbered(1, 2, 3))
    consumer, keeps = engine.consumer("t", group="g"), engine.consumer("t", group="keeps")
    await keeps.receive()
    received = await consumer.receive()
    await consumer.acknowledge(received[1].offset)
    await consumer.acknowledge(received[0])
    await consumer.release()
    assert datas(await consumer.receive()) == [b"3"]


async def test_what_was_not_received_cannot_be_acknowledged(engine: MessagingEngine) -> None:
    """A position must not run ahead of what somebody has seen."""
    await engine.publisher().publish(numbered(1, 2))
    consumer = engine.consumer("t", group="g")
    with pytest.raises(ValueError, match="did not receive"):
        await consumer.acknowledge(1)
    first = (await consumer.receive(limit=1))[0]
    with pytest.raises(ValueError, match="did not receive"):
        await consumer.acknowledge(first.offset + 1)
    await consumer.acknowledge(first)
    assert datas(await consumer.receive()) == [b"2"]


async def test_concurrent_publishers_keep_the_order_of_each_key(engine: MessagingEngine) -> None:
    """Sixteen at once, each its own key: nothing is missing, and no key is out of order."""
    publisher = engine.publisher()

    async def publish(key: str) -> None:
        for number in range(20):
            await publisher.publish(numbered(number, key=key))

    await asyncio.gather(*(publish(f"k{n}") for n in range(16)))
    by_key: dict[str, list[bytes]] = {}
    for message in await drain(engine.consumer("t", group="g")):
        by_key.setdefault(message.key, []).append(message.data)
    assert by_key == {f"k{n}": [b"%d" % number for number in range(20)] for n in range(16)}


async def test_publishing_nothing_is_nothing(engine: MessagingEngine) -> None:
    """An empty publish is no error and no message."""
    await engine.publisher().publish([])
    assert await engine.topics() == []


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (Outgoing("", "k", b""), "topic"),
        (Outgoing("a b", "k", b""), "topic"),
        (Outgoing("t" * 101, "k", b""), "topic"),
        (Outgoing("../up", "k", b""), "topic"),
        (Outgoing("t", "k" * 513, b""), "key"),
        (Outgoing("t", "\0", b""), "key"),
        (Outgoing("t", "\ud800", b""), "surrogate"),
        (Outgoing("t", "k", b"", "i" * 513), "id"),
        (Outgoing("t", "k", b"x" * (1024 * 1024 + 1)), "1048577 bytes"),
        (Outgoing("t", "k", "text"), "not bytes"),  # type: ignore[arg-type]
    ],
)
async def test_what_can_never_be_published_is_refused_with_all_of_its_batch(
    engine: MessagingEngine, message: Outgoing, complaint: str
) -> None:
    """A `ValueError` says what is wrong, and the good message before it is not published either."""
    with pytest.raises(ValueError, match=complaint):
        await engine.publisher().publish([Outgoing("t", "k", b"good"), message])
    assert await engine.consumer("t", group="g").receive() == ()


async def test_names_and_limits_that_are_none_are_refused(engine: MessagingEngine) -> None:
    """A group is named like a topic, and a limit is at least 1."""
    with pytest.raises(ValueError, match="group"):
        engine.consumer("t", group="a/b")
    with pytest.raises(ValueError, match="topic"):
        engine.consumer("", group="g")
    with pytest.raises(ValueError, match="limit"):
        await engine.consumer("t", group="g").receive(limit=0)


async def test_a_consumer_receives_one_call_at_a_time(engine: MessagingEngine) -> None:
    """A second call beside the first is a mistake of the program: it could only break the order."""
    consumer = engine.consumer("t", group="g")
    waiting = asyncio.create_task(consumer.receive(wait=30.0))
    await asyncio.sleep(0.02)
    with pytest.raises(RuntimeError, match="receives already"):
        await consumer.receive()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await consumer.receive() == ()
