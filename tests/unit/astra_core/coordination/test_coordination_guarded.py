"""A guarded coordination: what a policy's refusals become, and what counts against the engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from astra_core.clock import SystemClock
from astra_core.coordination import (
    MemoryCoordination,
    SqliteCoordination,
    coordination_from_url,
    coordination_is_failing,
    coordination_said_nothing,
    guarded,
)
from astra_core.errors import CoordinationError, CoordinationUnavailable, LeaseLost, Overloaded
from astra_core.keyed import BlockingPool
from astra_core.resilience import (
    BreakerParameters,
    CircuitBreaker,
    Constant,
    DeadlineParameters,
    Deadlines,
    Policy,
    RetryParameters,
    RetryPolicy,
    Sweep,
    own_deadline_expired,
)
from astra_core.sqlite import Limits
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from astra_core.coordination import Lease


class Flaky(MemoryCoordination):
    """A coordination of which acquiring fails or hangs on demand; counts the calls that reach it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.failures = 0
        self.hangs = False
        self.reached = 0

    async def acquire(self, name: str, *, ttl: float, holder: str = "") -> Lease | None:
        """Take, unless at fault."""
        self.reached += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.failures:
            self.failures -= 1
            raise CoordinationUnavailable("it is away")
        return await super().acquire(name, ttl=ttl, holder=holder)


class World:
    """A flaky coordination behind deadline, retries and breaker."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        sweep = Sweep(clock=self.clock)
        self.flaky = Flaky(self.clock)
        self.breaker = CircuitBreaker(
            name="coordination",
            parameters=BreakerParameters(failure_rate=None, consecutive_failures=3, open_jitter=0.0),
            clock=self.clock,
            is_failure=coordination_is_failing,
            ignore=coordination_said_nothing,
            cancellation_is_failure=own_deadline_expired,
        )
        policy = Policy(
            name="coordination",
            deadline=Deadlines("coordination", sweep=sweep, parameters=DeadlineParameters(budget=2.0)),
            retry=RetryPolicy(
                "coordination",
                sweep=sweep,
                parameters=RetryParameters(attempts=2, backoff=Constant(0.1), max_retry_after=0.0),
                retry_on=coordination_is_failing,
            ),
            breaker=self.breaker,
        )
        self.at = guarded(self.flaky, policy=policy)


async def test_a_failed_try_is_followed_by_another() -> None:
    """Taking a lease is safe to repeat, so one failure is not seen."""
    world = World()
    await world.at.open()
    world.flaky.failures = 1
    taking = asyncio.create_task(world.at.acquire("n", ttl=9.0))
    await world.clock.run_for(1.0)
    assert await taking is not None
    assert world.flaky.reached == 2


async def test_a_deadline_and_an_open_breaker_become_the_ports_error() -> None:
    """Hangs are cut off, and after a few the engine is not asked any more; who calls knows of no policy."""
    world = World()
    await world.at.open()
    world.flaky.hangs = True
    for _ in range(3):
        taking = asyncio.create_task(world.at.acquire("n", ttl=9.0))
        await world.clock.run_for(2.0)
        with pytest.raises(CoordinationUnavailable):
            await taking
    assert world.flaky.reached == 3
    with pytest.raises(CoordinationUnavailable) as caught:
        await world.at.standing("n")
    assert caught.value.retry_after > 1.0


async def test_lost_leases_do_not_count_against_the_engine() -> None:
    """A thousand of them open no breaker."""
    world = World()
    await world.at.open()
    lease = await world.at.acquire("n", ttl=9.0)
    assert lease is not None
    world.clock.advance(9.0)
    for _ in range(1_000):
        with pytest.raises(LeaseLost):
            await world.at.renew(lease)
    assert world.breaker.circuit_state == "closed"


@pytest.mark.parametrize(
    ("error", "failing", "nothing"),
    [
        (CoordinationUnavailable("away"), True, False),
        (ConnectionError("reset"), True, False),
        (LeaseLost("n", 1), False, False),
        (Overloaded("ours", limit=1), False, True),
        (ValueError("a mistake"), False, True),
    ],
)
def test_what_speaks_against_the_engine(error: Exception, failing: bool, nothing: bool) -> None:
    """Failures count, answers count as good, and refusals and mistakes of ours count neither way."""
    assert (coordination_is_failing(error), coordination_said_nothing(error)) == (failing, nothing)


def test_a_url_names_the_engine() -> None:
    """`memory:` and `sqlite:PATH` are known, others are refused with what was wrong."""
    pool = BlockingPool("pool", threads=1, queue=1)

    def of(url: str) -> object:
        return coordination_from_url(url, writer=pool, readers=pool, limits=Limits(), clock=SystemClock())

    assert isinstance(of("memory:"), MemoryCoordination)
    sqlite = of("sqlite:./data/coordination.db")
    assert isinstance(sqlite, SqliteCoordination)
    assert str(sqlite.database.path) == "data/coordination.db"
    with pytest.raises(CoordinationError, match="zookeeper:"):
        of("zookeeper://somewhere")
