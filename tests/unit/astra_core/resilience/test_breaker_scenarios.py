"""What the manuals of resilience4j, Polly and gobreaker promise, a scenario each, and what ours adds to them."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from aiobreaker import CircuitBreakerListener

from astra_core.errors import Overloaded
from astra_core.resilience.breaker import BreakerOpen, BreakerParameters, CircuitBreaker
from astra_core.resilience.deadline import DeadlineExceeded
from tests.unit.astra_core.resilience.breaker_driver import Boom, Driver

PLAIN = BreakerParameters(
    failure_rate=0.5,
    window_calls=10,
    minimum_calls=10,
    open_for=10.0,
    open_multiplier=1.0,
    open_jitter=0.0,
    probes=1,
    ramp=0.0,
)
"""Half of the last ten calls; ten seconds; one probe; no ramp."""


class TestResilience4j:
    """github.com/resilience4j: "CircuitBreaker"."""

    def test_failure_rate_equal_to_the_threshold_opens(self) -> None:
        """The rate need not exceed it."""
        driver = Driver(PLAIN)
        driver.good(5)
        driver.bad(4)
        assert driver.state == "closed"
        driver.bad()
        assert driver.state == "open"

    def test_nine_failures_do_not_open_when_the_minimum_is_ten_calls(self) -> None:
        """A rate means nothing before there are enough calls; then it is computed after good calls too."""
        driver = Driver(PLAIN)
        driver.bad(9)
        assert driver.state == "closed"
        driver.good()
        assert driver.state == "open"

    def test_count_based_sliding_window_evicts_the_oldest(self) -> None:
        """Failures that ten later calls have pushed out count no more."""
        driver = Driver(PLAIN)
        driver.bad(4)
        driver.good(6)
        driver.good(4)
        driver.bad(4)
        assert driver.state == "closed"

    def test_time_based_sliding_window_evicts_by_time(self) -> None:
        """Old failures are forgotten; and old successes too, so a rate can rise without a failure."""
        driver = Driver(replace(PLAIN, window_seconds=10.0, minimum_calls=4))
        driver.bad(3)
        driver.clock.advance(10)
        driver.good(4)
        assert driver.breaker.snapshot().failure_rate == 0.0
        driver.clock.advance(5)
        driver.bad(3)
        assert driver.state == "closed"
        driver.clock.advance(5)
        driver.good()
        assert (driver.state, driver.breaker.snapshot().failure_rate) == ("open", 0.75)

    def test_slow_call_rate_opens_before_anything_fails(self) -> None:
        """Calls that take as long as the threshold, or longer, are slow; the calls return what they return."""
        driver = Driver(replace(PLAIN, slow_rate=0.5, slow_after=2.0, failure_rate=None))
        driver.good(5)
        driver.slow(1.9)
        driver.slow(2.0, times=4)
        assert (driver.state, driver.breaker.snapshot().slow_rate) == ("closed", 0.4)
        driver.slow(2.0)
        assert driver.state == "open"

    def test_a_slow_failure_counts_in_both_rates(self) -> None:
        """It is a failed call and a slow one."""
        driver = Driver(replace(PLAIN, slow_rate=1.0, slow_after=2.0))
        call = driver.call()
        driver.clock.advance(3)
        with pytest.raises(Boom):
            call.end(Boom())
        now = driver.breaker.snapshot()
        assert (now.calls, now.failure_rate, now.slow_rate) == (1, 1.0, 1.0)

    def test_the_window_does_not_limit_concurrent_calls(self) -> None:
        """Twenty calls at once pass a closed breaker whose window is ten."""
        driver = Driver(PLAIN)
        calls = [driver.call() for _ in range(20)]
        for call in calls:
            call.end()
        assert driver.breaker.snapshot().calls == 10

    def test_half_open_permits_so_many_calls_and_rejects_others_until_they_have_completed(self) -> None:
        """Also when some of them have already succeeded."""
        driver = Driver(replace(PLAIN, probes=3))
        driver.bad(10)
        driver.clock.advance(10)
        first, second, third = driver.call(), driver.call(), driver.call()
        assert driver.refused() == 1
        first.end()
        second.end()
        assert (driver.refused(), driver.state) == (1, "half-open")
        third.end()
        assert driver.state == "closed"

    def test_half_open_opens_again_when_the_rate_of_the_permitted_calls_is_reached(self) -> None:
        """Of four probes at 50 %, one may fail and two may not; no probe is waited for that cannot change it."""
        for failures, state in ((1, "closed"), (2, "open")):
            driver = Driver(replace(PLAIN, probes=4))
            driver.bad(10)
            driver.clock.advance(10)
            driver.bad(failures)
            if state == "closed":
                driver.good(4 - failures)
            assert driver.state == state

    def test_slow_probes_open_it_again(self) -> None:
        """The slow-call rate judges the probes too."""
        driver = Driver(replace(PLAIN, slow_rate=0.5, slow_after=1.0, probes=2))
        driver.bad(10)
        driver.clock.advance(10)
        driver.slow(1.0)
        assert driver.state == "open"
        assert driver.log.named("BreakerOpened")[-1].reason == "probes were slow"

    def test_max_wait_in_half_open_opens_it_again(self) -> None:
        """A probe that hangs does not hold the breaker half-open for ever, and its late result is dropped."""
        driver = Driver(replace(PLAIN, probe_wait=5.0))
        driver.bad(10)
        driver.clock.advance(10)
        hung = driver.call()
        driver.clock.advance(4.9)
        assert (driver.refused(), driver.state) == (1, "half-open")
        driver.clock.advance(0.1)
        assert (driver.refused(), driver.state) == (1, "open")
        hung.end()
        assert (driver.state, driver.breaker.retry_after) == ("open", 10.0)

    def test_max_wait_of_nothing_waits_for_ever(self) -> None:
        """Without a limit the probe's result is waited for."""
        driver = Driver(replace(PLAIN, probe_wait=None))
        driver.bad(10)
        driver.clock.advance(10)
        probe = driver.call()
        driver.clock.advance(1e6)
        assert driver.refused() == 1
        probe.end()
        assert driver.state == "closed"

    def test_max_wait_is_each_probes_own(self) -> None:
        """A probe that began late has its time, though the first began long ago."""
        driver = Driver(replace(PLAIN, probes=3, probe_wait=5.0))
        driver.bad(10)
        driver.clock.advance(10)
        first = driver.call()
        driver.clock.advance(4)
        second = driver.call()
        first.end()
        driver.clock.advance(4)
        third = driver.call()
        second.end()
        third.end()
        assert driver.state == "closed"

    def test_ignored_exceptions_count_neither_way(self) -> None:
        """They are in no rate, and do not end a row of failures."""
        driver = Driver(PLAIN, ignore=lambda error: isinstance(error, KeyError))
        driver.bad()
        with pytest.raises(KeyError):
            driver.call().end(KeyError())
        now = driver.breaker.snapshot()
        assert (now.calls, now.consecutive_failures) == (1, 1)

    def test_exceptions_that_are_not_recorded_as_failures_are_successes(self) -> None:
        """An answer like "there is no such record" says that the dependency is well."""
        driver = Driver(PLAIN, is_failure=lambda error: not isinstance(error, KeyError))
        driver.bad()
        with pytest.raises(KeyError):
            driver.call().end(KeyError())
        now = driver.breaker.snapshot()
        assert (now.calls, now.failure_rate, now.consecutive_failures) == (2, 0.5, 0)

    def test_results_can_be_failures(self) -> None:
        """The result is returned, also by the call that opens the breaker."""
        driver = Driver(
            PLAIN, is_failed_result=lambda result: result == 500, ignore_result=lambda result: result == 404
        )
        assert [driver.call().end(status) for status in (404, 404, *[500] * 9, 200)] == [404, 404, *[500] * 9, 200]
        assert driver.state == "open"

    def test_disabled_lets_everything_pass_and_counts_nothing(self) -> None:
        """Until it is reset."""
        driver = Driver(PLAIN)
        driver.breaker.disable()
        driver.bad(50)
        assert (driver.state, driver.breaker.snapshot().calls) == ("disabled", 0)
        driver.breaker.reset()
        driver.bad(10)
        assert driver.state == "open"

    def test_metrics_only_counts_and_never_opens(self) -> None:
        """Rates are there to be seen."""
        driver = Driver(PLAIN)
        driver.breaker.metrics_only()
        driver.bad(50)
        assert (driver.state, driver.breaker.snapshot().failure_rate) == ("metrics only", 1.0)

    def test_forced_open_stays_open_whatever_time_passes(self) -> None:
        """Only another order ends it."""
        driver = Driver(PLAIN)
        driver.breaker.force_open()
        driver.clock.advance(1e6)
        assert (driver.refused(), driver.state) == (1, "forced open")
        driver.breaker.reset()
        assert driver.refused() == 0

    def test_reset_loses_all_metrics(self) -> None:
        """It is as if it were new."""
        driver = Driver(PLAIN)
        driver.bad(9)
        driver.breaker.reset()
        now = driver.breaker.snapshot()
        assert (now.state, now.calls, now.consecutive_failures, driver.breaker.fail_counter) == ("closed", 0, 0, 0)

    def test_max_wait_is_that_of_the_probe_that_waits_longest(self) -> None:
        """Probes that began later, and ended or were cancelled, do not cover for one that hangs."""
        driver = Driver(replace(PLAIN, probes=3, probe_wait=5.0))
        driver.bad(10)
        driver.clock.advance(10)
        hung = driver.call()
        driver.clock.advance(2)
        second = driver.call()
        driver.clock.advance(1)
        third = driver.call()
        third.cancel()
        second.end()
        fourth = driver.call()
        driver.clock.advance(2)
        assert (driver.refused(), driver.state) == (1, "open")
        hung.end()
        fourth.end()

    def test_a_call_that_is_dropped_gives_its_permit_back(self) -> None:
        """Nobody awaits it any more, so it will have no result."""
        driver = Driver(PLAIN)
        driver.bad(10)
        driver.clock.advance(10)
        probe = driver.call()
        assert driver.refused() == 1
        del probe
        assert (driver.refused(), driver.state) == (0, "closed")


class TestPolly:
    """www.pollydocs.org: "Circuit breaker resilience strategy"."""

    def test_the_ratio_is_sampled_over_a_duration_with_a_minimum_throughput(self) -> None:
        """Failures that are spread thinner than the throughput never break the circuit."""
        driver = Driver(replace(PLAIN, window_seconds=10.0, minimum_calls=8))
        for _ in range(50):
            driver.bad()
            driver.clock.advance(2)
        assert driver.state == "closed"

    def test_retry_after_says_how_long_calls_will_be_blocked(self) -> None:
        """It counts down."""
        driver = Driver(PLAIN)
        driver.bad(10)
        driver.clock.advance(4)
        with pytest.raises(BreakerOpen) as caught:
            driver.call()
        assert caught.value.retry_after == driver.breaker.retry_after == 6.0

    def test_one_probe_decides_after_the_break_duration(self) -> None:
        """A failed one breaks the circuit for another break duration, a good one resets it."""
        driver = Driver(PLAIN)
        driver.bad(10)
        driver.clock.advance(10)
        driver.bad()
        assert (driver.state, driver.breaker.retry_after) == ("open", 10.0)
        driver.clock.advance(10)
        driver.good()
        assert driver.state == "closed"

    def test_all_exceptions_are_rethrown_including_handled_ones(self) -> None:
        """With `raise_original` the call that opens the circuit raises its own error."""
        driver = Driver(PLAIN, raise_original=True)
        for _ in range(10):
            with pytest.raises(Boom):
                driver.call().end(Boom())
        assert driver.state == "open"

    def test_isolated_until_closed_by_hand(self) -> None:
        """Isolate blocks, close lets pass."""
        driver = Driver(PLAIN)
        driver.breaker.force_open()
        assert driver.refused(3) == 3
        driver.breaker.close()
        assert driver.refused(3) == 0

    def test_the_break_duration_grows_with_failed_probes(self) -> None:
        """By a factor up to a cap, and is small again once the circuit has closed."""
        driver = Driver(replace(PLAIN, open_multiplier=2.0, open_cap=35.0))
        driver.bad(10)
        pauses = []
        for _ in range(4):
            pauses.append(driver.breaker.retry_after)
            driver.clock.advance(driver.breaker.retry_after)
            driver.bad()
        assert pauses == [10.0, 20.0, 35.0, 35.0]
        driver.clock.advance(35)
        driver.good()
        driver.bad(10)
        assert driver.breaker.retry_after == 10.0

    def test_reading_the_state_does_not_change_it(self) -> None:
        """A pause that is over ends with the next call, not with a look."""
        driver = Driver(PLAIN)
        driver.bad(10)
        driver.clock.advance(100)
        before = driver.breaker.generation
        assert (driver.state, driver.breaker.retry_after) == ("open", 0.0)
        assert "open" in repr(driver.breaker)
        assert driver.breaker.state.state.name == driver.breaker.current_state.name == "OPEN"
        assert driver.breaker.generation == before


class TestGobreaker:
    """github.com/sony/gobreaker."""

    def test_more_than_five_consecutive_failures_trip(self) -> None:
        """A success ends the row."""
        driver = Driver(BreakerParameters.consecutive(6))
        driver.bad(5)
        driver.good()
        driver.bad(5)
        assert driver.state == "closed"
        driver.bad()
        assert driver.state == "open"

    def test_max_requests_consecutive_successes_close_half_open(self) -> None:
        """So many probes pass, and all must be good."""
        driver = Driver(replace(BreakerParameters.consecutive(1), probes=3))
        driver.bad()
        driver.clock.advance(60)
        driver.good(2)
        assert driver.state == "half-open"
        driver.good()
        assert driver.state == "closed"

    def test_one_failure_in_half_open_opens(self) -> None:
        """However many probes were good before."""
        driver = Driver(replace(BreakerParameters.consecutive(1), probes=3))
        driver.bad()
        driver.clock.advance(60)
        driver.good(2)
        driver.bad()
        assert driver.state == "open"

    def test_too_many_requests_in_half_open_are_refused(self) -> None:
        """The refusal says half-open and suggests to come again soon."""
        driver = Driver(BreakerParameters.consecutive(1))
        driver.bad()
        driver.clock.advance(60)
        probe = driver.call()
        with pytest.raises(BreakerOpen) as caught:
            driver.call()
        assert (caught.value.state, caught.value.retry_after) == ("half-open", 1.0)
        probe.end()

    def test_results_of_an_older_generation_are_ignored(self) -> None:
        """A probe of one half-open period does not decide the next."""
        driver = Driver(replace(BreakerParameters.consecutive(1), probe_wait=5.0))
        driver.bad()
        driver.clock.advance(60)
        old = driver.call()
        driver.clock.advance(5)
        assert driver.refused() == 1
        driver.clock.advance(60)
        new = driver.call()
        with pytest.raises(Boom):
            old.end(Boom())
        assert driver.state == "half-open"
        new.end()
        assert driver.state == "closed"

    def test_every_change_is_told_with_its_name(self) -> None:
        """In order: opened, half-opened, closed; aiobreaker's listeners hear of the same changes."""
        heard: list[str] = []

        class Listener(CircuitBreakerListener):
            def state_change(self, breaker: CircuitBreaker, old: object, new: object) -> None:
                heard.append(f"{breaker.name}: {breaker.circuit_state}")

        driver = Driver(BreakerParameters.consecutive(1), listeners=[Listener()])
        driver.bad()
        assert driver.refused() == 1
        driver.clock.advance(60)
        driver.good()
        assert heard == ["store: open", "store: half-open", "store: closed"]
        assert [type(event).__name__ for event in driver.log.events] == [
            "BreakerOpened", "CallRejected", "BreakerHalfOpened", "BreakerClosed",
        ]  # fmt: skip
        assert {event.name for event in driver.log.events} == {"store"}
        assert driver.log.events[0].reason == "failures in a row"
        assert [event.generation for event in driver.log.events if hasattr(event, "generation")] == [1, 2, 3]


class TestOurs:
    """What the three do not have."""

    def test_a_growing_share_of_the_calls_passes_after_the_probes(self) -> None:
        """From a tenth to all over half the pause that was in force; each tenth of the ramp has its declared share."""
        driver = Driver(replace(PLAIN, ramp=0.5, ramp_start=0.1))
        driver.bad(10)
        driver.clock.advance(10)
        driver.good()
        assert driver.state == "ramping"
        shares = []
        for _ in range(10):
            shares.append(1 - driver.refused(1000) / 1000)
            driver.clock.advance(0.5)
        assert shares == pytest.approx([0.1 + 0.9 * tenth / 10 for tenth in range(10)], abs=0.01)
        assert (driver.refused(1000), driver.state) == (0, "closed")

    def test_the_first_call_of_a_ramp_passes(self) -> None:
        """A caller who comes once a second is not refused for the whole ramp."""
        driver = Driver(replace(PLAIN, ramp=0.5, ramp_start=0.01))
        driver.bad(10)
        driver.clock.advance(10)
        driver.good()
        assert driver.refused() == 0

    def test_a_ramp_that_meets_failures_opens_and_the_pause_grows(self) -> None:
        """The rules of the closed state hold, and it counts as failing again, not as a first time."""
        driver = Driver(replace(PLAIN, ramp=1.0, ramp_start=1.0, open_multiplier=2.0))
        driver.bad(10)
        driver.clock.advance(10)
        driver.good()
        driver.bad(10)
        assert (driver.state, driver.breaker.retry_after) == ("open", 20.0)

    def test_what_the_ramp_saw_is_not_forgotten_when_it_ends(self) -> None:
        """Nine failures in the ramp and one after it are ten."""
        driver = Driver(replace(PLAIN, ramp=1.0, ramp_start=1.0))
        driver.bad(10)
        driver.clock.advance(10)
        driver.good()
        driver.bad(9)
        driver.clock.advance(10)
        driver.bad()
        assert driver.state == "open"

    def test_jitter_only_shortens_the_pause(self) -> None:
        """So the cap is a cap, and pauses of many breakers end at different times."""
        pauses = set()
        for _ in range(50):
            driver = Driver(replace(PLAIN, open_jitter=0.2), random=None)
            driver.bad(10)
            pauses.add(driver.breaker.retry_after)
        assert len(pauses) > 40
        assert min(pauses) >= 8.0
        assert max(pauses) <= 10.0

    def test_back_to_full_service_within_twice_the_pause(self) -> None:
        """Wait, three probes and ramp together, with the default shape, however long it was open."""
        driver = Driver(BreakerParameters())
        driver.bad(10)
        for _ in range(6):
            driver.clock.advance(driver.breaker.retry_after)
            driver.bad(2)
        pause = driver.breaker.retry_after
        driver.clock.advance(pause)
        driver.good(3)
        driver.clock.advance(pause * 0.5)
        assert (driver.refused(100), driver.state) == (0, "closed")

    @pytest.mark.parametrize(
        "refusal",
        [Overloaded("queue", limit=1), BreakerOpen, DeadlineExceeded("edge", budget=1.0, own=False)],
        ids=["limiter", "inner breaker", "deadline shortened by the caller"],
    )
    def test_our_own_refusals_count_neither_way(self, refusal: object) -> None:
        """They say nothing about the dependency, and give a probe's permit back."""
        driver = Driver(BreakerParameters.consecutive(1))
        if refusal is BreakerOpen:
            inner = Driver(BreakerParameters.consecutive(1))
            inner.breaker.force_open()
            with pytest.raises(BreakerOpen) as caught:
                inner.call()
            refusal = caught.value
        assert isinstance(refusal, Exception)
        for state, seconds in (("closed", 0.0), ("half-open", 60.0)):
            driver.clock.advance(seconds)
            with pytest.raises(type(refusal)):
                driver.call().end(refusal)
            assert driver.state == state
            driver.breaker.open()

    def test_our_own_deadline_inside_the_call_is_a_failure(self) -> None:
        """A `DeadlineExceeded` that nobody shortened speaks against the dependency."""
        driver = Driver(BreakerParameters.consecutive(1))
        with pytest.raises(BreakerOpen):
            driver.call().end(DeadlineExceeded("store", budget=1.0, own=True))

    def test_a_predicate_that_raises_is_no_reason_to_lose_a_result(self) -> None:
        """A result is then a success, an error a failure."""

        def broken(_: object) -> bool:
            raise ZeroDivisionError

        driver = Driver(BreakerParameters.consecutive(2), is_failure=broken, ignore_result=broken, exclude=[broken])
        assert driver.call().end("fine") == "fine"
        with pytest.raises(Boom):
            driver.call().end(Boom())
        now = driver.breaker.snapshot()
        assert (now.calls, now.consecutive_failures) == (2, 1)

    def test_new_parameters_keep_the_state(self) -> None:
        """A pause under way takes the new length, from its beginning; the window stays while its shape does."""
        driver = Driver(PLAIN)
        driver.bad(9)
        driver.breaker.parameters = replace(PLAIN, open_for=30.0)
        driver.bad()
        assert (driver.state, driver.breaker.retry_after) == ("open", 30.0)
        driver.clock.advance(12)
        driver.breaker.parameters = replace(PLAIN, open_for=15.0)
        assert (driver.state, driver.breaker.retry_after) == ("open", 3.0)
        driver.breaker.parameters = replace(PLAIN, window_calls=20)
        assert driver.breaker.snapshot().calls == 0

    def test_fewer_probes_in_half_open_decide_at_once(self) -> None:
        """Those that have succeeded may be enough under the new parameters."""
        driver = Driver(replace(PLAIN, probes=5))
        driver.bad(10)
        driver.clock.advance(10)
        driver.good(2)
        driver.breaker.parameters = replace(PLAIN, probes=2)
        assert driver.state == "closed"

    def test_a_new_slow_threshold_holds_at_once(self) -> None:
        """Calls are measured by the parameters in force when they end."""
        driver = Driver(PLAIN)
        driver.slow(5.0)
        driver.breaker.parameters = replace(PLAIN, slow_rate=1.0, slow_after=5.0)
        driver.slow(5.0)
        assert driver.breaker.snapshot().slow_rate == 0.5

    def test_repr_shows_state_rates_and_time_left(self) -> None:
        """All that an operator asks first."""
        driver = Driver(PLAIN)
        driver.good(5)
        driver.bad(5)
        driver.clock.advance(2.5)
        assert repr(driver.breaker) == (
            "<CircuitBreaker 'store' open, 7.5 s left: 50.0% failed, 0.0% slow of 10 calls, "
            "5 failures in a row, generation 1>"
        )

    def test_orders_hold_in_every_state(self) -> None:
        """Each order leads to its state from each other, and tells what it did."""
        driver = Driver(PLAIN)
        breaker = driver.breaker
        orders = {
            "closed": breaker.close, "open": breaker.open, "half-open": breaker.half_open, "disabled": breaker.disable,
            "forced open": breaker.force_open, "metrics only": breaker.metrics_only,
        }  # fmt: skip
        for first in orders.values():
            for state, order in orders.items():
                first()
                order()
                assert driver.state == state
        assert len(driver.log.events) == breaker.generation == 2 * len(orders) ** 2

    def test_a_listener_may_give_orders(self) -> None:
        """One that forces the breaker open at half-open is obeyed: the call that came to probe is refused."""
        breaker: CircuitBreaker

        def guard(event: object) -> None:
            if type(event).__name__ == "BreakerHalfOpened":
                breaker.force_open()

        driver = Driver(PLAIN, events=guard)
        breaker = driver.breaker
        driver.bad(10)
        driver.clock.advance(10)
        assert (driver.refused(), driver.state) == (1, "forced open")

    def test_a_failure_whose_listener_moves_the_breaker_is_of_the_past(self) -> None:
        """It is not counted again in the state that the listener chose."""

        class Forgiving(CircuitBreakerListener):
            def failure(self, breaker: CircuitBreaker, exception: BaseException) -> None:
                breaker.reset()

        driver = Driver(BreakerParameters.consecutive(1), listeners=[Forgiving()])
        driver.bad(5)
        assert (driver.state, driver.breaker.snapshot().calls) == ("closed", 0)

    def test_opening_an_open_breaker_begins_the_pause_anew(self) -> None:
        """And is told, as aiobreaker tells it."""
        heard: list[str] = []

        class Listener(CircuitBreakerListener):
            def state_change(self, breaker: CircuitBreaker, old: object, new: object) -> None:
                heard.append(breaker.circuit_state)

        driver = Driver(PLAIN, listeners=[Listener()])
        driver.breaker.open()
        driver.clock.advance(6)
        driver.breaker.open()
        assert (driver.breaker.retry_after, heard) == (10.0, ["open", "open"])

    def test_an_endless_slow_threshold_never_makes_a_call_slow(self) -> None:
        """Which is the default."""
        driver = Driver(PLAIN)
        assert driver.breaker.parameters.slow_after == inf
        driver.slow(1e9)
        assert driver.breaker.snapshot().slow_rate == 0.0
