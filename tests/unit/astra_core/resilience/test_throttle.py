"""Adaptive throttling: the formula of the book, and what counts."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from astra_core.errors import Overloaded
from astra_core.events.limiter import CallThrottled
from astra_core.resilience.deadline import DeadlineExceeded, DeadlineParameters, Deadlines
from astra_core.resilience.sweep import Sweep
from astra_core.resilience.throttle import AdaptiveThrottle, ThrottleParameters
from astra_core.testing import FakeClock


async def answer(error: Exception | None = None) -> str:
    """Answer, or fail as told."""
    if error:
        raise error
    return "ok"


async def attempts(throttle: AdaptiveThrottle, count: int, error: Exception | None = None) -> int:
    """How many of the calls reached the dependency."""
    reached = 0
    for _ in range(count):
        try:
            await throttle.call(answer, error)
        except Overloaded:
            continue
        except Exception:
            pass
        reached += 1
    return reached


def throttled(**options: Any) -> AdaptiveThrottle:
    """A throttle with chance and time of its own."""
    return AdaptiveThrottle("api", random=Random(1), **{"clock": FakeClock(), **options})


async def test_a_healthy_dependency_gets_everything() -> None:
    """As long as half of the calls are accepted nothing is dropped; errors that are no refusals are accepted calls."""
    throttle = throttled()
    assert await attempts(throttle, 500) == 500
    assert await attempts(throttle, 500, ConnectionError()) == 500
    assert throttle.probability == 0.0
    assert await attempts(throttle, 500, ValueError()) == 500
    assert throttle.probability == 0.0


async def test_the_probability_is_that_of_the_book() -> None:
    """`max(0, (requests - K * accepts) / (requests + 1))`, for K = 2 and 1.5."""
    for k in (2.0, 1.5):
        throttle = throttled(parameters=ThrottleParameters(k=k))
        for number in range(100):
            throttle.note(accepted=number < 20)
        assert throttle.probability == pytest.approx((100 - k * 20) / 101)


async def test_a_dependency_that_refuses_all_gets_little_and_never_nothing() -> None:
    """Most calls are dropped on our side, those that are tell listeners, and a few go on probing."""
    events: list[object] = []
    throttle = throttled(listeners=events.append)
    reached = await attempts(throttle, 5_000, ConnectionError())
    assert 1 <= reached <= 50
    assert len(events) == 5_000 - reached
    assert isinstance(events[-1], CallThrottled)
    assert await attempts(throttle, 5_000) < 100


async def test_the_past_is_forgotten_after_the_window() -> None:
    """Two minutes later everything passes again."""
    clock = FakeClock()
    throttle = throttled(clock=clock)
    await attempts(throttle, 1_000, TimeoutError())
    assert throttle.probability > 0.9
    clock.advance(121)
    assert throttle.probability == 0.0
    assert await attempts(throttle, 50) == 50


async def test_what_says_nothing_is_not_counted() -> None:
    """Our own limiter's refusals, callers that leave, deadlines that they shortened; our own deadline is a refusal."""
    clock = FakeClock()
    throttle = throttled(clock=clock)
    deadlines = Deadlines("d", sweep=Sweep(clock=clock), parameters=DeadlineParameters(budget=2.0))
    for error in (Overloaded("limiter", limit=1), DeadlineExceeded("d", budget=1, own=False)):
        with pytest.raises(type(error)):
            await throttle.call(answer, error)
    leaving = asyncio.create_task(throttle.call(clock.sleep, 60))
    await clock.run_for(1)
    leaving.cancel()
    await clock.run_for(1)
    assert repr(throttle) == "AdaptiveThrottle('api', dropping=0.00)"
    assert throttle.probability == 0.0
    late = asyncio.create_task(deadlines.call(throttle.call, clock.sleep, 60))
    await clock.run_for(3)
    assert isinstance(late.exception(), DeadlineExceeded)
    assert throttle.probability == 0.5


@pytest.mark.parametrize("knobs", [{"k": 0.5}, {"window": 0.0}])
def test_knobs_that_make_no_throttle_are_refused(knobs: dict[str, float]) -> None:
    """A K below 1 would drop calls of a healthy dependency."""
    with pytest.raises(ValueError, match="throttling"):
        ThrottleParameters(**knobs)
