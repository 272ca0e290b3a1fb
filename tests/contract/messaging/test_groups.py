"""Consumers of one group: one holds the topic at a time, another goes on where it stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from astra_core.errors import ClaimLost, MessagingUnavailable
from astra_core.messaging import GroupState, Outgoing
from tests.contract.messaging.conftest import datas

if TYPE_CHECKING:
    from astra_core.messaging import MessagingEngine
    from tests.contract.messaging.conftest import Opener


async def fill(engine: MessagingEngine, *datas: bytes) -> None:
    """Publish each under one key."""
    await engine.publisher().publish([Outgoing("t", "k", data) for data in datas])


async def test_two_consumers_of_a_group_are_never_given_the_same_message(engine: MessagingEngine) -> None:
    """While one holds the topic the other receives nothing, however much there is."""
    await fill(engine, b"1", b"2", b"3")
    first, second = engine.consumer("t", group="g"), engine.consumer("t", group="g")
    assert datas(await first.receive(limit=1)) == [b"1"]
    assert await second.receive() == ()
    assert datas(await first.receive(limit=1)) == [b"2"]
    assert await second.receive(wait=0.05) == ()


async def test_a_consumer_that_waits_goes_on_when_the_other_one_releases(engine: MessagingEngine) -> None:
    """It is given what was not acknowledged, and the other one stands by from then on."""
    await fill(engine, b"1", b"2")
    first, second = engine.consumer("t", group="g"), engine.consumer("t", group="g")
    await first.acknowledge((await first.receive(limit=1))[0])
    waiting = asyncio.create_task(second.receive(wait=30.0))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await first.release()
    assert datas(await asyncio.wait_for(waiting, 10.0)) == [b"2"]
    assert await first.receive() == ()


async def test_a_consumer_that_released_cannot_acknowledge(engine: MessagingEngine) -> None:
    """What it had received is another one's to acknowledge now."""
    await fill(engine, b"1")
    consumer = engine.consumer("t", group="g")
    received = await consumer.receive()
    await consumer.release()
    with pytest.raises(ValueError, match="did not receive"):
        await consumer.acknowledge(received[0])


async def test_releasing_what_is_not_held_is_nothing(engine: MessagingEngine) -> None:
    """Neither twice, nor before the first receive, nor in the place of whoever holds it."""
    await fill(engine, b"1", b"2")
    first, second = engine.consumer("t", group="g"), engine.consumer("t", group="g")
    await first.release()
    received = await first.receive(limit=1)
    await second.release()
    assert await second.receive() == ()
    await first.acknowledge(received[0])
    await first.release()
    await first.release()
    assert datas(await second.receive()) == [b"2"]


async def test_a_group_says_how_far_it_has_come(engine: MessagingEngine) -> None:
    """Position and what lies behind it, for every group of every topic."""
    await fill(engine, b"1", b"2", b"3")
    consumer = engine.consumer("t", group="g")
    received = await consumer.receive(limit=2)
    (state,) = await engine.topics()
    assert state.groups == (GroupState("g", received[0].offset - 1, 3, 0),)
    await consumer.acknowledge(received[1])
    (state,) = await engine.topics()
    assert (state.topic, state.last) == ("t", received[1].offset + 1)
    assert state.groups == (GroupState("g", received[1].offset, 1, 0),)


async def test_the_consumers_of_a_forgotten_group_lose_their_claim(engine: MessagingEngine) -> None:
    """Their acknowledgement is refused, nothing comes back through it, and the name begins anew."""
    await fill(engine, b"1", b"2")
    consumer, other = engine.consumer("t", group="g"), engine.consumer("t", group="g")
    received = await consumer.receive(limit=1)
    await engine.forget("t", group="g")
    assert await other.receive() == ()
    (state,) = await engine.topics()
    assert state.groups == ()
    with pytest.raises(ClaimLost, match="the group g reads t through another consumer"):
        await consumer.acknowledge(received[0])
    assert datas(await other.receive()) == [b"1", b"2"]
    assert await consumer.receive() == ()


async def test_forgetting_what_there_is_not_is_nothing(engine: MessagingEngine) -> None:
    """Neither a topic nor a group needs to be there."""
    await engine.forget("t", group="g")
    await fill(engine, b"1")
    await engine.forget("t", group="g")
    assert datas(await engine.consumer("t", group="g").receive()) == [b"1"]


async def test_a_closed_engine_is_unavailable(opener: Opener) -> None:
    """Every call says so, a receive that waits among them, with a time after which to try again."""
    async with opener() as engine:
        await fill(engine, b"1")
        publisher, consumer, other = (
            engine.publisher(),
            engine.consumer("t", group="g"),
            engine.consumer("u", group="g"),
        )
        received = await consumer.receive()
        waiting = asyncio.create_task(other.receive(wait=30.0))
        await asyncio.sleep(0.05)
    with pytest.raises(MessagingUnavailable, match="closed"):
        await asyncio.wait_for(waiting, 10.0)
    with pytest.raises(MessagingUnavailable, match="closed"):
        await publisher.publish([Outgoing("t", "k", b"2")])
    with pytest.raises(MessagingUnavailable, match="closed") as raised:
        await consumer.receive()
    assert raised.value.retry_after > 0
    with pytest.raises(MessagingUnavailable, match="closed"):
        await consumer.acknowledge(received[0])
    with pytest.raises(MessagingUnavailable, match="closed"):
        await engine.topics()
    with pytest.raises(MessagingUnavailable, match="closed"):
        await engine.forget("t", group="g")
    await consumer.release()


async def test_an_engine_that_was_closed_has_released_its_consumers(engine: MessagingEngine) -> None:
    """Opened again it gives the topic to whoever asks first; a consumer of before has no claim left."""
    await fill(engine, b"1")
    before = engine.consumer("t", group="g")
    await before.receive()
    await engine.close()
    await engine.open()
    assert datas(await engine.consumer("t", group="g").receive()) == [b"1"]
    assert await before.receive() == ()
