"""A guarded engine: what is repeated, what a wait for news may take, what a policy's refusals become."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.errors import ClaimLost, MessagingError, MessagingUnavailable
from astra_core.messaging import MemoryMessaging, Outgoing, guarded, messaging_is_failing, messaging_said_nothing
from astra_core.resilience import (
    BreakerOpen,
    BreakerParameters,
    BreakerState,
    CircuitBreaker,
    Constant,
    DeadlineParameters,
    Deadlines,
    Limiter,
    LimiterParameters,
    Policy,
    RetryParameters,
    RetryPolicy,
    Sweep,
    own_deadline_expired,
)
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

BUDGET = 2.0
KNOWN = Outgoing("t", "k", b"known", "id")
UNKNOWN = Outgoing("t", "k", b"unknown")


class Flaky(MemoryMessaging):
    """An engine whose publishes fail or hang on demand, and which counts those that reach it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.clock = clock
        self.faults: list[Exception] = []
        self.hangs = False
        self.reached = 0

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish, unless at fault; a fault strikes after it was done."""
        self.reached += 1
        if self.hangs:
            await self.clock.sleep(1_000_000)
        await super().publish(messages)
        if self.faults:
            raise self.faults.pop()


class World:
    """A flaky engine behind every part of a policy, and a clock."""

    def __init__(self, *, limit: int = 10) -> None:
        self.clock = FakeClock()
        sweep = Sweep(clock=self.clock)
        self.flaky = Flaky(self.clock)
        self.breaker = CircuitBreaker(
            name="messaging",
            parameters=BreakerParameters(failure_rate=None, consecutive_failures=3, open_jitter=0.0),
            clock=self.clock,
            is_failure=messaging_is_failing,
            ignore=messaging_said_nothing,
            cancellation_is_failure=own_deadline_expired,
        )
        self.limiter = Limiter("messaging", sweep=sweep, parameters=LimiterParameters(limit=limit, queue=0))
        policy = Policy(
            name="messaging",
            deadline=Deadlines("messaging", sweep=sweep, parameters=DeadlineParameters(budget=BUDGET)),
            retry=RetryPolicy(
                "messaging",
                sweep=sweep,
                parameters=RetryParameters(attempts=2, backoff=Constant(0.1), max_retry_after=0.0),
                retry_on=messaging_is_failing,
            ),
            breaker=self.breaker,
            limiter=self.limiter,
        )
        self.engine = guarded(self.flaky, publishing=policy, consuming=policy)
        self.publisher = self.engine.publisher()
        self.consumer = self.engine.consumer("t", group="g")

    async def after(self, seconds: float, work: Awaitable[Any]) -> Any:
        """What `work` returned or raised once so much time had gone by."""
        task = asyncio.ensure_future(work)
        await self.clock.run_for(seconds)
        assert task.done()
        return task.exception() or task.result()

    async def break_it(self) -> None:
        """Fail until the breaker opens."""
        self.flaky.faults = [MessagingUnavailable("gone") for _ in range(4)]
        while self.breaker.circuit_state is not BreakerState.OPEN:
            await self.after(1.0, self.publisher.publish([UNKNOWN]))


@pytest.fixture
async def world() -> World:
    """An open engine."""
    world = World()
    await world.engine.open()
    return world


async def test_messages_with_ids_are_published_again(world: World) -> None:
    """A publish that failed may have happened: what has an id is recognised when it comes twice."""
    world.flaky.faults = [MessagingUnavailable("the connection broke")]
    assert await world.after(0.2, world.publisher.publish([KNOWN])) is None
    assert [message.id for message in await world.consumer.receive()] == ["id", "id"]


async def test_a_message_without_an_id_is_not_published_again(world: World) -> None:
    """One that lacks it is enough: its duplicate would be news to whoever reads it."""
    world.flaky.faults = [MessagingUnavailable("the connection broke")]
    error = await world.after(0.2, world.publisher.publish([KNOWN, UNKNOWN]))
    assert isinstance(error, MessagingUnavailable)
    assert world.flaky.reached == 1


async def test_a_message_without_an_id_is_published_again_when_it_never_left(world: World) -> None:
    """A refused connection is proof of it."""
    world.flaky.faults = [ConnectionRefusedError()]
    assert await world.after(0.2, world.publisher.publish([UNKNOWN])) is None
    assert world.flaky.reached == 2


async def test_a_publish_that_hangs_is_cut_off(world: World) -> None:
    """The deadline's end is the port's own error, and counts against the engine."""
    world.flaky.hangs = True
    for _ in range(3):
        error = await world.after(BUDGET + 0.1, world.publisher.publish([KNOWN]))
        assert isinstance(error, MessagingUnavailable)
        assert "deadline" in str(error)
    assert world.breaker.circuit_state is BreakerState.OPEN


async def test_a_wait_for_news_is_no_failure_and_takes_no_permit() -> None:
    """It may last longer than the deadline of a call, and as many wait as like beside those that have work."""
    world = World(limit=1)
    await world.engine.open()
    waiting = [
        asyncio.ensure_future(world.engine.consumer(topic, group="g").receive(wait=10 * BUDGET)) for topic in "tuv"
    ]
    await world.clock.run_for(5 * BUDGET)
    assert world.limiter.in_use == 0
    await world.publisher.publish([KNOWN])
    await world.clock.run_for(0.0)
    assert [message.id for message in waiting[0].result()] == ["id"]
    await world.clock.run_for(6 * BUDGET)
    assert [receiving.result() for receiving in waiting[1:]] == [(), ()]
    assert world.breaker.circuit_state is BreakerState.CLOSED


async def test_an_open_breaker_refuses_at_once_and_says_until_when(world: World) -> None:
    """Publishers and consumers alike, however long they would wait; the refusal is the port's error."""
    await world.break_it()
    reached = world.flaky.reached
    for work in (world.publisher.publish([KNOWN]), world.consumer.receive(wait=60.0), world.engine.topics()):
        error = await world.after(0.2, work)
        assert isinstance(error, MessagingUnavailable)
        assert isinstance(error.__cause__, BreakerOpen)
        assert error.retry_after > 1.0
    assert world.flaky.reached == reached


async def test_a_mistake_of_a_caller_opens_no_breaker(world: World) -> None:
    """Impossible messages, limits and positions pass as they are."""
    for _ in range(10):
        with pytest.raises(ValueError, match="topic"):
            await world.publisher.publish([Outgoing("", "", b"")])
        with pytest.raises(ValueError, match="limit"):
            await world.consumer.receive(limit=0)
        with pytest.raises(ValueError, match="did not receive"):
            await world.consumer.acknowledge(1)
    assert world.breaker.circuit_state is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("error", "failing"),
    [
        (MessagingUnavailable("gone"), True),
        (OSError(), True),
        (ClaimLost("t", "g"), False),
        (MessagingError("damaged"), False),
        (ValueError(), False),
    ],
)
def test_what_speaks_against_an_engine(error: Exception, failing: bool) -> None:
    """Being away does; a lost claim and a mistake do not, and count for nothing."""
    assert messaging_is_failing(error) is failing
    assert messaging_said_nothing(error) is not failing
