"""An engine that tells of its calls: how many messages, how long, and how they failed."""

from __future__ import annotations

import asyncio

import pytest

from astra_core.errors import MessagingUnavailable
from astra_core.events import GroupBehind, MessagingCalled
from astra_core.messaging import MemoryMessaging, MessagingEngine, Outgoing, observed, report
from astra_core.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands."""
    return FakeClock()


@pytest.fixture
def heard() -> list[object]:
    """What was told."""
    return []


@pytest.fixture
async def engine(clock: FakeClock, heard: list[object]) -> MessagingEngine:
    """An open engine, observed."""
    engine = observed(MemoryMessaging(clock=clock), name="log", listener=heard.append, clock=clock)
    await engine.open()
    return engine


async def test_calls_are_told_with_their_messages_by_topic(
    engine: MessagingEngine, heard: list[object], clock: FakeClock
) -> None:
    """Publish, receive and acknowledge; a receive's time holds its wait. Nothing else is told, and no key or id."""
    consumer = engine.consumer("t", group="g")
    waiting = asyncio.create_task(consumer.receive(wait=9.0))
    await clock.run_for(2.0)
    await engine.publisher().publish([Outgoing("t", "secret", b"", "secret"), Outgoing("u", "k", b"")])
    await consumer.acknowledge((await waiting)[0])
    await engine.topics()
    await consumer.release()
    await engine.forget("t", group="g")
    assert sorted(heard, key=lambda event: getattr(event, "operation", "")) == [
        MessagingCalled("log", "acknowledge", {"t": 0}, "g", 0.0, ""),
        MessagingCalled("log", "publish", {"t": 1, "u": 1}, "", 0.0, ""),
        MessagingCalled("log", "receive", {"t": 1}, "g", 2.0, ""),
    ]


async def test_a_call_that_failed_is_told_by_the_class_of_its_error(
    engine: MessagingEngine, heard: list[object]
) -> None:
    """The error goes on to the caller."""
    await engine.close()
    with pytest.raises(MessagingUnavailable):
        await engine.publisher().publish([Outgoing("t", "k", b"")])
    with pytest.raises(MessagingUnavailable):
        await engine.consumer("t", group="g").receive()
    assert heard == [
        MessagingCalled("log", "publish", {"t": 1}, "", 0.0, "MessagingUnavailable"),
        MessagingCalled("log", "receive", {"t": 0}, "g", 0.0, "MessagingUnavailable"),
    ]


async def test_how_far_groups_lag_is_told_when_asked(engine: MessagingEngine, heard: list[object]) -> None:
    """Once a group and topic."""
    await engine.publisher().publish([Outgoing("t", "k", b"")] * 3)
    first, second = engine.consumer("t", group="a"), engine.consumer("t", group="b")
    await first.receive()
    await second.acknowledge((await second.receive())[1])
    heard.clear()
    await report(engine, heard.append)
    assert heard == [GroupBehind("t", "a", 3), GroupBehind("t", "b", 1)]
