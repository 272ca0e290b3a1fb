"""What every consumer over a log of ours does, over a log that a test holds up."""

from __future__ import annotations

import asyncio

import pytest

from astra_core.clock import SystemClock
from astra_core.errors import ClaimLost
from astra_core.messaging import Received
from astra_core.messaging.consumer import LogConsumer
from astra_core.messaging.doorbell import Doorbell
from astra_core.testing import FakeClock


class Held:
    """A log of two messages; it reads when told, and is read by whoever claims."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.position = 0
        self.claims = 0
        self.reads = 0
        self.lost = False
        self.moves = 1

    async def claim(self) -> int | None:
        """Give the position."""
        self.claims += 1
        return self.position

    async def read(self, after: int, limit: int) -> list[Received]:
        """Wait for `go`."""
        self.reads += 1
        await self.go.wait()
        return [Received(offset, "t", "k", b"") for offset in (1, 2) if offset > after][:limit]

    async def acknowledge(self, through: int) -> None:
        """Move, unless the claim is lost."""
        if self.lost:
            raise ClaimLost("t", "g")
        self.position = through

    async def release(self) -> None:
        """Nothing to give up."""

    def moved(self) -> int:
        """What the test says."""
        return self.moves


@pytest.fixture
async def log() -> Held:
    """A log that does not read yet."""
    return Held()


def consumer_of(log: Held) -> LogConsumer:
    """A consumer that looks every 10 ms."""
    return LogConsumer(log, name="t for g", doorbell=Doorbell(SystemClock()), poll=0.01, clock=SystemClock())


async def test_what_was_read_before_a_release_is_not_returned_after_it(log: Held) -> None:
    """Another consumer may have been given it by then; this one claims anew."""
    consumer = consumer_of(log)
    receiving = asyncio.create_task(consumer.receive())
    await asyncio.sleep(0.01)
    await consumer.release()
    log.go.set()
    assert await receiving == ()
    with pytest.raises(ValueError, match="did not receive"):
        await consumer.acknowledge(1)
    assert len(await consumer.receive()) == 2
    assert log.claims == 2


async def test_a_log_that_did_not_move_is_not_read(log: Held) -> None:
    """The look is cheap: a consumer at the end of a log reads once, and again only when something was committed."""
    log.go.set()
    consumer = consumer_of(log)
    assert len(await consumer.receive()) == 2
    assert await consumer.receive(wait=0.1) == ()
    assert log.reads == 2
    log.moves += 1
    assert await consumer.receive(wait=0.1) == ()
    assert log.reads == 3


async def test_a_consumer_that_lost_its_claim_claims_anew(log: Held) -> None:
    """It is told by the acknowledgement, and goes on from the position as it stands."""
    log.go.set()
    consumer = consumer_of(log)
    await consumer.receive(limit=1)
    log.lost, log.position = True, 1
    with pytest.raises(ClaimLost):
        await consumer.acknowledge(1)
    assert [message.offset for message in await consumer.receive()] == [2]
    assert log.claims == 2


async def test_a_doorbell_wakes_who_waits_and_leaves_nobody_asleep() -> None:
    """A ring ends the wait at once, time ends it too, and no sleeper is left behind."""
    clock = FakeClock()
    bell = Doorbell(clock)
    waits = [asyncio.create_task(bell.wait(seconds)) for seconds in (1.0, 60.0)]
    await clock.run_for(1.0)
    assert [wait.done() for wait in waits] == [True, False]
    bell.ring()
    await waits[1]
    await asyncio.sleep(0)
    assert clock.sleepers == 0
