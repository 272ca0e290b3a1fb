"""Every fault that was measured in aiobreaker 1.2.0, and that ours does not have it."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiobreaker import CircuitBreakerError, CircuitBreakerListener, CircuitBreakerState

from astra_core.errors import AstraError
from astra_core.resilience.breaker import BreakerOpen, BreakerParameters, CircuitBreaker
from astra_core.testing import FakeClock
from tests.unit.astra_core.resilience.breaker_driver import Boom, Call, Driver

if TYPE_CHECKING:
    from collections.abc import Iterator


def consecutive(failures: int, **options: Any) -> Driver:
    """A breaker as aiobreaker's: so many failures in a row, a pause of a minute."""
    return Driver(BreakerParameters.consecutive(failures), **options)


def test_half_open_lets_one_of_a_hundred_concurrent_calls_through() -> None:
    """The others are refused while the probe runs, and pass once it has succeeded."""
    driver = consecutive(1)
    driver.bad()
    driver.clock.advance(60)
    probe = driver.call()
    assert driver.refused(99) == 99
    probe.end()
    assert driver.refused(99) == 0


@pytest.fixture(params=["Asia/Tokyo", "America/Los_Angeles", "UTC"])
def time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The process's time zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_times_are_right_in_every_time_zone(time_zone: str) -> None:
    """`opens_at`, `time_until_open` and the error's `time_remaining` say 30 s, and after 30 s a call passes."""
    clock = FakeClock(time=time.time())
    breaker = CircuitBreaker(1, timedelta(seconds=30), clock=clock)
    with pytest.raises(CircuitBreakerError) as caught:
        Call(breaker).end(Boom())
    for moment in (breaker.opens_at, caught.value.reopen_time):
        assert moment is not None
        assert abs((moment - datetime.now()).total_seconds() - 30) < 5
    assert breaker.time_until_open == caught.value.time_remaining == timedelta(seconds=30)
    clock.advance(29.9)
    with pytest.raises(BreakerOpen):
        Call(breaker)
    clock.advance(0.1)
    left: list[object] = [breaker.opens_at, breaker.time_until_open]
    assert left == [None, None]
    Call(breaker).end()


@pytest.mark.parametrize("step", [-1e6, 1e6])
def test_a_step_of_the_wall_clock_neither_opens_nor_holds_it(step: float) -> None:
    """Only monotonic time counts."""
    driver = consecutive(1)
    driver.bad()
    driver.clock.step(step)
    assert driver.refused() == 1
    driver.clock.advance(60)
    assert driver.refused() == 0


def test_our_own_deadline_is_a_failure() -> None:
    """A timeout inside the call is an error; a cancellation is a failure when it is said to be our own deadline's."""
    driver = consecutive(2, cancellation_is_failure=lambda: True)
    driver.call().cancel()
    with pytest.raises(BreakerOpen):
        driver.call().end(TimeoutError())


def test_the_cancellation_that_opens_it_stays_a_cancellation() -> None:
    """It is never replaced by an error, or the task would go on."""
    driver = consecutive(1, cancellation_is_failure=lambda: True)
    driver.call().cancel()
    assert driver.state == "open"


def test_somebody_elses_cancellation_says_nothing() -> None:
    """It is neither a failure nor a success, and in half-open it gives its permit back."""
    driver = consecutive(1)
    for _ in range(3):
        driver.call().cancel()
    assert (driver.state, driver.breaker.snapshot().calls) == ("closed", 0)
    driver.bad()
    driver.clock.advance(60)
    driver.call().cancel()
    assert driver.state == "half-open"
    driver.good()
    assert driver.state == "closed"


def test_a_late_failure_does_not_move_a_newer_state() -> None:
    """Calls that began before it opened, and fail after it has closed again, are of another time."""
    driver = consecutive(1)
    late = [driver.call() for _ in range(3)]
    driver.bad()
    driver.clock.advance(60)
    driver.good()
    for call in late:
        with pytest.raises(Boom):
            call.end(Boom())
    assert (driver.state, driver.breaker.fail_counter, driver.breaker.consecutive_failures) == ("closed", 0, 0)


def test_a_late_success_does_not_close_a_half_open_breaker() -> None:
    """Only a probe does."""
    driver = consecutive(1)
    late = driver.call()
    driver.bad()
    driver.clock.advance(60)
    probe = driver.call()
    late.end()
    assert driver.state == "half-open"
    probe.end()
    assert driver.state == "closed"


def test_an_excluded_error_is_no_success() -> None:
    """It neither ends the row of failures nor closes a half-open breaker, where it gives its permit back.

    `fail_counter` alone shows 0 after it, because aiobreaker's own tests ask for that.
    """
    driver = consecutive(2, exclude=[KeyError])
    driver.bad()
    with pytest.raises(KeyError):
        driver.call().end(KeyError())
    assert (driver.breaker.fail_counter, driver.breaker.consecutive_failures) == (0, 1)
    driver.bad()
    assert driver.state == "open"
    driver.clock.advance(60)
    with pytest.raises(KeyError):
        driver.call().end(KeyError())
    assert driver.state == "half-open"
    driver.bad()
    assert driver.state == "open"


class Answered(ABC):
    """An abstract class that some errors are registered with."""

    @abstractmethod
    def answer(self) -> str:
        """What was answered."""


@Answered.register
class Refused(Exception):  # noqa: N818
    """An error that counts as an answer."""


def test_an_abstract_class_excludes_its_own_errors_and_no_others() -> None:
    """aiobreaker took it for a predicate that always holds."""
    driver = consecutive(1, exclude=[Answered])
    with pytest.raises(Refused):
        driver.call().end(Refused())
    assert driver.state == "closed"
    driver.bad()
    assert driver.state == "open"


class Angry(CircuitBreakerListener):
    """Raises whatever it is told."""

    def before_call(self, *_: object, **__: object) -> None:
        """Raise."""
        raise ZeroDivisionError("before")

    success = failure = state_change = before_call


def test_a_listener_that_raises_is_logged_and_not_felt(caplog: pytest.LogCaptureFixture) -> None:
    """The result, the error and the opening are what they would have been, and the next listener hears of all."""
    heard: list[str] = []

    class Calm(CircuitBreakerListener):
        def state_change(self, breaker: Any, old: Any, new: Any) -> None:
            heard.append(f"{old.state.name} to {new.state.name}")

    def angry(event: object) -> None:
        raise ZeroDivisionError(event)

    driver = consecutive(2, listeners=[Angry(), Calm()], events=angry)
    with caplog.at_level(logging.ERROR):
        assert driver.call().end("fine") == "fine"
        with pytest.raises(Boom):
            driver.call().end(Boom())
        with pytest.raises(BreakerOpen):
            driver.call().end(Boom())
    assert heard == ["CLOSED to OPEN"]
    assert "Angry" in caplog.text


def test_a_pause_of_zero_is_zero() -> None:
    """aiobreaker made a minute of it."""
    breaker = CircuitBreaker(1, timedelta(0), clock=FakeClock())
    with pytest.raises(BreakerOpen):
        Call(breaker).end(Boom())
    Call(breaker).end()
    assert breaker.current_state is CircuitBreakerState.CLOSED


def test_a_function_that_another_breaker_decorated_is_still_guarded() -> None:
    """`ignore_on_call` keeps a breaker from counting twice, and says nothing about other breakers."""
    inner, outer = CircuitBreaker(), CircuitBreaker()

    @inner
    def fails() -> None:
        raise Boom

    for breaker in (inner, outer):
        with pytest.raises(Boom):
            breaker.call(fails)
    assert (inner.fail_counter, outer.fail_counter) == (2, 1)


def test_the_error_is_aiobreakers_and_ours_and_says_when_to_come_back() -> None:
    """`except CircuitBreakerError` and `except AstraError` both catch it; it names the breaker and the seconds left."""
    driver = consecutive(1)
    driver.bad()
    driver.clock.advance(20)
    with pytest.raises(BreakerOpen) as caught:
        driver.call()
    assert isinstance(caught.value, CircuitBreakerError)
    assert isinstance(caught.value, AstraError)
    assert (caught.value.name, caught.value.retry_after, str(caught.value)) == ("store", 40.0, "store is open")
    driver.clock.advance(15)
    assert caught.value.time_remaining == timedelta(seconds=25)


async def test_sleeping_until_it_opens_takes_what_is_left() -> None:
    """The breaker's and the error's; both end at once when nothing is left."""
    driver = consecutive(1)
    await driver.breaker.sleep_until_open()
    driver.bad()
    with pytest.raises(BreakerOpen) as caught:
        driver.call()
    driver.clock.advance(50)
    sleepers = [asyncio.create_task(each.sleep_until_open()) for each in (driver.breaker, caught.value)]
    await driver.clock.run_for(9.9)
    assert not any(sleeper.done() for sleeper in sleepers)
    await driver.clock.run_for(0.1)
    await asyncio.gather(*sleepers)
