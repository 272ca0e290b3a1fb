"""A breaker round calls that are made elsewhere: `begin`, then `end`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from astra_core.resilience.breaker import BreakerOpen, BreakerParameters, BreakerState
from astra_core.resilience.breaker_outcomes import Verdict
from tests.unit.astra_core.resilience.breaker_driver import Boom, Driver

TWO = BreakerParameters.consecutive(2, open_for=10.0)


@pytest.mark.parametrize(
    ("ended", "calls", "in_row"),
    [
        ({}, 1, 0),
        ({"error": Boom()}, 1, 1),
        ({"verdict": Verdict.FAILURE}, 1, 1),
        ({"error": Boom(), "verdict": Verdict.NEITHER}, 0, 0),
        ({"error": Boom(), "verdict": Verdict.SUCCESS}, 1, 0),
        ({"error": asyncio.CancelledError()}, 0, 0),
        ({"error": asyncio.CancelledError(), "verdict": Verdict.FAILURE}, 1, 1),
    ],
)
def test_an_end_counts_as_that_of_a_call(ended: dict[str, Any], calls: int, in_row: int) -> None:
    """By the breaker's own judgement of the error, or by a verdict that is given."""
    driver = Driver(TWO)
    driver.breaker.end(driver.breaker.begin(), **ended)
    now = driver.breaker.snapshot()
    assert (now.calls, now.consecutive_failures) == (calls, in_row)


def test_an_end_raises_nothing_and_a_beginning_may() -> None:
    """Not even the failure that opens it; then `begin` raises, and an event says so."""
    driver = Driver(TWO)
    for _ in range(2):
        driver.breaker.end(driver.breaker.begin(), Boom())
    with pytest.raises(BreakerOpen) as refused:
        driver.breaker.begin()
    assert refused.value.retry_after == 10.0
    assert len(driver.log.named("CallRejected")) == 1


def test_a_success_after_failures_ends_their_row() -> None:
    """For our own count and for aiobreaker's."""
    driver = Driver(BreakerParameters.consecutive(3))
    driver.breaker.end(driver.breaker.begin(), Boom())
    assert driver.breaker.fail_counter == 1
    driver.breaker.end(driver.breaker.begin())
    assert (driver.breaker.fail_counter, driver.breaker.consecutive_failures) == (0, 0)
    assert driver.breaker.snapshot().calls == 2


def test_late_ends_move_nothing() -> None:
    """What began before it opened is not heard afterwards, whatever it says."""
    driver = Driver(TWO)
    permits = [driver.breaker.begin() for _ in range(3)]
    driver.breaker.open()
    driver.clock.advance(10)
    probe = driver.breaker.begin()
    for permit, verdict in zip(permits, Verdict, strict=True):
        driver.breaker.end(permit, verdict=verdict)
    assert driver.breaker.circuit_state is BreakerState.HALF_OPEN
    with pytest.raises(BreakerOpen):
        driver.breaker.begin()
    driver.breaker.end(probe)
    assert driver.state == "closed"


def test_probes_give_their_place_back_whatever_time_they_are_given() -> None:
    """Also when several are under way and their durations are told."""
    driver = Driver(BreakerParameters(probes=3, open_for=10.0, open_jitter=0.0))
    driver.breaker.half_open()
    permits = []
    for _ in range(3):
        permits.append(driver.breaker.begin())
        driver.clock.advance(1)
    for permit in permits:
        driver.breaker.end(permit, verdict=Verdict.NEITHER, took=0.0)
    assert driver.breaker._circuit._probes == []
    assert [driver.breaker.begin() for _ in range(3)]


def test_the_duration_is_measured_or_told() -> None:
    """A call is slow by the time since its beginning, unless its caller knows better."""
    driver = Driver(BreakerParameters(failure_rate=None, slow_rate=1.0, slow_after=1.0, minimum_calls=2))
    for took, slow in ((None, 1.0), (0.5, 0.0), (1.5, 1.0)):
        driver.breaker.reset()
        permit = driver.breaker.begin()
        driver.clock.advance(2)
        assert driver.breaker.elapsed(permit) == 2.0
        driver.breaker.end(permit, took=took)
        assert driver.breaker.snapshot().slow_rate == slow


def test_overrides_hold() -> None:
    """A disabled breaker lets everything begin and counts nothing; one that is forced open lets nothing begin."""
    driver = Driver(TWO)
    driver.breaker.disable()
    for ended in ({}, {"error": Boom()}, {"verdict": Verdict.FAILURE}):
        driver.breaker.end(driver.breaker.begin(), **ended)
    assert driver.breaker.snapshot().calls == 0
    driver.breaker.force_open()
    with pytest.raises(BreakerOpen):
        driver.breaker.begin()
