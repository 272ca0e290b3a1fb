"""A composed policy: the order of its parts, and what each sees of the others."""

from __future__ import annotations

import asyncio
import dataclasses
from random import Random
from typing import Any

import pytest

from astra_core.errors import Overloaded
from astra_core.resilience.backoff import Constant
from astra_core.resilience.breaker import BreakerOpen, BreakerParameters, BreakerState, CircuitBreaker
from astra_core.resilience.breaker_calls import Calls
from astra_core.resilience.deadline import (
    DeadlineExceeded,
    DeadlineParameters,
    Deadlines,
    own_deadline_expired,
    remaining,
)
from astra_core.resilience.limiter import Limiter, LimiterParameters, Priority
from astra_core.resilience.policy import Policy
from astra_core.resilience.retry import RetryParameters, RetryPolicy
from astra_core.resilience.sweep import Sweep
from astra_core.resilience.throttle import AdaptiveThrottle
from astra_core.testing import FakeClock


class World:
    """Every part, real: five seconds, three tries a second apart, a breaker that opens at three failures in a row."""

    def __init__(self, *, limit: int = 2, queue: int = 1, try_timeout: float | None = None, attempts: int = 3) -> None:
        self.clock = FakeClock()
        self.sweep = Sweep(clock=self.clock)
        self.calls = 0
        self.breaker = CircuitBreaker(
            name="store",
            parameters=BreakerParameters(
                failure_rate=None, consecutive_failures=3, open_for=5.0, open_jitter=0.0, probes=1, ramp=0.0
            ),
            clock=self.clock,
            cancellation_is_failure=own_deadline_expired,
        )
        self.limiter = Limiter(
            "store", sweep=self.sweep, parameters=LimiterParameters(limit=limit, queue=queue, timeout=60.0)
        )
        self.policy = Policy(
            name="store",
            deadline=Deadlines("store", sweep=self.sweep, parameters=DeadlineParameters(budget=5.0)),
            retry=RetryPolicy(
                "store",
                sweep=self.sweep,
                parameters=RetryParameters(attempts=attempts, backoff=Constant(1.0), try_timeout=try_timeout),
            ),
            breaker=self.breaker,
            limiter=self.limiter,
        )

    async def works(self, value: int = 1, *, plus: int = 0) -> int:
        """Add."""
        self.calls += 1
        return value + plus

    async def fails(self) -> None:
        """Break off."""
        self.calls += 1
        raise ConnectionResetError

    async def hangs(self) -> None:
        """Take far too long."""
        self.calls += 1
        await self.clock.sleep(1_000)

    async def outcome(self, work: Any, seconds: float = 10.0) -> Any:
        """What `work` raised or returned after so much time."""
        task = asyncio.ensure_future(work)
        await self.clock.run_for(seconds)
        return task.exception() or task.result()


@pytest.fixture(autouse=True, params=["in one coroutine", "each in its own"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to make a call do the same."""
    if request.param == "each in its own":
        monkeypatch.setattr(Calls, "is_plain", False)


async def test_a_call_passes_all_parts_with_its_arguments() -> None:
    """The result comes back and nothing is held afterwards."""
    world = World()
    assert await world.policy.call(world.works, 3, plus=4) == 7
    assert (world.limiter.in_use, len(world.sweep)) == (0, 0)


async def test_every_part_can_be_left_out() -> None:
    """An empty policy is the call itself; any one part works alone."""
    world = World()
    assert await Policy(name="bare").call(world.works, 3, plus=4) == 7
    for part in ("deadline", "retry", "breaker", "limiter"):
        only = Policy(name="one", **{part: getattr(world.policy, part)})
        assert await only.call(world.works, 3, plus=4) == 7


async def test_the_breaker_counts_every_try_and_ends_the_retries() -> None:
    """Three failing tries open it, the third is told so; the next call does not reach the dependency."""
    world = World(attempts=9)
    assert isinstance(await world.outcome(world.policy.idempotent.call(world.fails), 4.0), BreakerOpen)
    assert world.calls == 3
    with pytest.raises(BreakerOpen) as refused:
        await world.policy.idempotent.call(world.works)
    assert refused.value.retry_after > 0
    assert world.calls == 3
    await world.clock.run_for(5.0)
    assert await world.policy.call(world.works) == 1
    assert world.breaker.circuit_state is BreakerState.CLOSED


async def test_an_open_breaker_takes_no_permit() -> None:
    """Refused by the breaker while the limiter is full: the answer is the breaker's, at once."""
    world = World(limit=1, queue=0)
    busy = asyncio.create_task(world.policy.call(world.hangs))
    await world.clock.run_for(0)
    world.breaker.force_open()
    with pytest.raises(BreakerOpen):
        await world.policy.call(world.works)
    await world.outcome(busy)


async def test_no_permit_is_held_between_tries() -> None:
    """While one call waits to be tried again, another passes a limiter of one."""
    world = World(limit=1, queue=0)
    waiting = asyncio.create_task(world.policy.idempotent.call(world.fails))
    await world.clock.run_for(0.5)
    assert await world.policy.call(world.works) == 1
    await world.outcome(waiting)


async def test_refusals_of_the_limiter_never_open_the_breaker() -> None:
    """Nor do calls whose deadline ended in its queue: the dependency saw none of them."""
    world = World(limit=1, queue=5)
    world.limiter.try_acquire()  # somebody else's call that takes its time
    queued = [asyncio.create_task(world.policy.call(world.works)) for _ in range(6)]
    await world.clock.run_for(6)
    errors = [task.exception() for task in queued]
    assert [type(error) for error in errors] == [DeadlineExceeded] * 5 + [Overloaded]
    assert world.calls == 0
    assert world.breaker.circuit_state is BreakerState.CLOSED
    assert world.breaker.consecutive_failures == 0


async def test_our_own_deadline_is_a_failure_of_the_dependency() -> None:
    """Three calls that hang until the policy's deadline, or a try's timeout, open the breaker."""
    world = World(limit=9)
    for _ in range(3):
        error = await world.outcome(world.policy.call(world.hangs))
    assert isinstance(error, DeadlineExceeded)
    assert world.breaker.circuit_state is BreakerState.OPEN

    world = World(limit=9, try_timeout=0.5)
    error = await world.outcome(world.policy.idempotent.call(world.hangs))
    assert (world.calls, world.breaker.circuit_state) == (3, BreakerState.OPEN)


async def test_no_caller_can_open_the_breaker() -> None:
    """A hundred callers who leave, and a hundred who shorten the deadline, count neither way."""
    world = World(limit=9)
    inbound = Deadlines("request", sweep=world.sweep, parameters=DeadlineParameters(budget=30.0))

    async def impatient() -> None:
        async with inbound.scope(asked=0.1):
            await world.policy.call(world.hangs)

    for _ in range(100):
        leaving = asyncio.create_task(world.policy.call(world.hangs))
        await world.clock.run_for(0.1)
        leaving.cancel()
        error = await world.outcome(impatient(), 0.2)
        assert isinstance(error, DeadlineExceeded)
        assert not error.own
    assert world.calls == 200
    assert world.breaker.circuit_state is BreakerState.CLOSED
    assert world.breaker.consecutive_failures == 0
    assert world.limiter.in_use == 0


async def test_the_deadline_holds_waits_and_queues_too() -> None:
    """The call sees the time that is left, never more than the policy allows."""
    world = World()
    seen = []

    async def look() -> None:
        seen.append(remaining())
        raise ConnectionResetError

    await world.outcome(world.policy.idempotent.call(look))
    assert seen == [5.0, 4.0, 3.0]


async def test_siblings_share_every_part() -> None:
    """A policy for reads and one for writes have one breaker and one limiter, and other rules of repetition."""
    world = World(limit=1, queue=2)
    reads, writes = world.policy.idempotent.at(Priority.CRITICAL), world.policy
    assert isinstance(await world.outcome(writes.call(world.fails), 3), ConnectionResetError)
    assert world.calls == 1
    assert isinstance(await world.outcome(writes.keyed.call(world.fails), 3), BreakerOpen)
    assert world.calls == 3
    with pytest.raises(BreakerOpen):
        await reads.call(world.works)


async def test_priorities_reach_the_queue() -> None:
    """A critical call that came last is served first."""
    world = World(limit=1, queue=5)
    world.limiter.try_acquire()
    served: list[str] = []

    async def serve(name: str) -> None:
        served.append(name)

    tasks = [
        asyncio.create_task(policy.call(serve, name))
        for name, policy in (
            ("statistics", world.policy.at(Priority.BACKGROUND)),
            ("link", world.policy.at(Priority.CRITICAL)),
        )
    ]
    await world.clock.run_for(0)
    world.limiter.release()
    await asyncio.gather(*tasks)
    assert served == ["link", "statistics"]


async def test_a_throttle_can_stand_where_the_breaker_stands() -> None:
    """It has the same call."""
    world = World()
    throttle = AdaptiveThrottle("store", clock=world.clock, random=Random(1))
    policy = dataclasses.replace(world.policy, breaker=throttle)
    assert await policy.call(world.works) == 1
    for _ in range(50):
        await world.outcome(policy.call(world.fails), 0.1)
    assert throttle.probability > 0.5


def test_a_policy_reads_like_its_order() -> None:
    """Its `repr` names the parts from the outside in, and it cannot be changed."""
    policy = World().policy
    text = repr(policy)
    assert [text.index(part) for part in ("Deadlines", "RetryPolicy", "CircuitBreaker", "Limiter", "→ call")] == sorted(
        text.index(part) for part in ("Deadlines", "RetryPolicy", "CircuitBreaker", "Limiter", "→ call")
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.name = "other"  # type: ignore[misc]
