"""Gradient2: what moves the limit, and what does not."""

from __future__ import annotations

import pytest

from astra_core.resilience.adaptive import Gradient2, Gradient2Parameters
from astra_core.testing import FakeClock


class Dependency:
    """Serves `capacity` calls at once in `service` seconds each; more than that queue up behind them."""

    def __init__(self, *, capacity: int, service: float = 0.05) -> None:
        self.capacity = capacity
        self.service = service

    def seconds(self, in_use: int) -> float:
        """How long each of so many calls takes."""
        return self.service * max(1.0, in_use / self.capacity)


def drive(limit: Gradient2, clock: FakeClock, dependency: Dependency, *, windows: int, demand: int = 10_000) -> int:
    """Windows of ten calls, with as many calls at once as the limit lets through of the demand."""
    for _ in range(windows):
        for _ in range(10):
            clock.advance(0.11)
            in_use = min(demand, limit.limit)
            limit.observe(dependency.seconds(in_use), in_use)
    return limit.limit


def test_without_queueing_the_limit_grows_to_its_maximum() -> None:
    """Latency that stays the same is no reason to hold anything back."""
    clock = FakeClock()
    assert drive(Gradient2(clock=clock), clock, Dependency(capacity=10_000), windows=300) == 200


def test_it_stays_where_it_is_while_the_demand_is_low() -> None:
    """Few calls say nothing about a limit of many."""
    clock = FakeClock()
    assert drive(Gradient2(clock=clock), clock, Dependency(capacity=10_000), windows=300, demand=9) == 20


def test_a_dependency_that_slows_down_lowers_it_and_recovers() -> None:
    """Five times slower brings the limit down, at least by half; back to normal it grows again."""
    clock = FakeClock()
    limit = Gradient2(clock=clock)
    high = drive(limit, clock, Dependency(capacity=10_000), windows=100)
    low = drive(limit, clock, Dependency(capacity=10_000, service=0.25), windows=30)
    assert low < high / 2
    assert drive(limit, clock, Dependency(capacity=10_000), windows=200) > 2 * low


def test_a_saturated_dependency_is_not_offered_everything() -> None:
    """With room for 50 at once the limit settles near it, far from the maximum that nothing holds."""
    clock = FakeClock()
    limit = Gradient2(parameters=Gradient2Parameters(maximum=100_000), clock=clock)
    settled = drive(limit, clock, Dependency(capacity=50), windows=200)
    assert 50 <= settled <= 150


def test_it_never_leaves_its_bounds() -> None:
    """However slow, the minimum stays open; one window halves at most a fifth of the way."""
    clock = FakeClock()
    limit = Gradient2(parameters=Gradient2Parameters(initial=100, minimum=12), clock=clock)
    drive(limit, clock, Dependency(capacity=10_000), windows=20)
    before = limit.limit
    after = drive(limit, clock, Dependency(capacity=10_000, service=50), windows=1)
    assert before * 0.9 - 1 <= after < before
    for service in (10.0**power for power in range(1, 30)):
        drive(limit, clock, Dependency(capacity=10_000, service=service), windows=5)
    assert limit.limit == 12


def test_a_window_needs_time_and_samples() -> None:
    """Neither many calls in an instant nor nine calls in as many minutes move the limit; ten do."""
    clock = FakeClock()
    limit = Gradient2(parameters=Gradient2Parameters(smoothing=1.0), clock=clock)
    for _ in range(1_000):
        limit.observe(0.05, 20)
    assert limit.limit == 20
    limit = Gradient2(parameters=Gradient2Parameters(smoothing=1.0), clock=clock)
    for _ in range(9):
        clock.advance(60)
        limit.observe(0.05, 20)
    assert limit.limit == 20
    limit.observe(0.05, 20)
    assert limit.limit == 24


def test_a_long_overload_does_not_dull_it() -> None:
    """After ten minutes of it and one of health, a threefold latency is noticed again."""
    clock = FakeClock()
    limit = Gradient2(clock=clock)
    drive(limit, clock, Dependency(capacity=10_000, service=0.25), windows=600)
    high = drive(limit, clock, Dependency(capacity=10_000), windows=60)
    assert drive(limit, clock, Dependency(capacity=10_000, service=0.15), windows=10) < high * 0.9


@pytest.mark.parametrize(
    "knobs", [{"minimum": 0}, {"initial": 1}, {"maximum": 10}, {"tolerance": 0.5}, {"smoothing": 0.0}, {"window": 0.0}]
)
def test_knobs_that_make_no_limit_are_refused(knobs: dict[str, float]) -> None:
    """Bounds out of order, and shares that are none."""
    with pytest.raises(ValueError, match="0"):
        Gradient2Parameters(**knobs)  # type: ignore[arg-type]
