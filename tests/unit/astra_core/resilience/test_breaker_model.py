"""The breaker against a model of it: a naive one, that keeps every call in a list and counts anew each time.

Hypothesis begins calls, ends them well, badly or not at all, in any order and any number at once, moves the clock and
gives orders; after each step everything that can be seen of the breaker must equal the model's. The run in full
(ASTRA_TEST_FULL=1) takes 2,500 examples.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from astra_core.errors import Overloaded
from astra_core.resilience.breaker import BreakerOpen, BreakerParameters
from tests.unit.astra_core.resilience.breaker_driver import Boom, Call, Driver

FULL = os.environ.get("ASTRA_TEST_FULL") == "1"


class Half(Random):
    """Draws 0.5 for ever, so that the model knows the jitter."""

    def random(self) -> float:
        """A half."""
        return 0.5


class Model:
    """What a breaker is to do, written for plainness."""

    def __init__(self, p: BreakerParameters, now: float) -> None:
        self.p, self.now = p, now
        self.state, self.generation = "closed", 0
        self.seen: list[tuple[float, bool, bool]] = []  # when it ended, failed, slow
        self.row = self.counter = self.openings = 0
        self.pause_from = self.pause = 0.0
        self.probing: list[float] = []
        self.probed: list[tuple[bool, bool]] = []
        self.ramp_from = self.ramp_length = self.credit = 0.0

    def go(self, state: str, *, forget: bool = True) -> None:
        """Enter `state`."""
        self.state = state
        self.generation += 1
        if state in ("closed", "disabled", "metrics only"):
            self.openings = 0
        if state == "closed":
            self.counter = 0
        if state in ("closed", "disabled", "metrics only", "ramping") and forget:
            self.seen, self.row = [], 0
        if state == "half-open":
            self.seen, self.probing, self.probed = [], [], []

    def open(self, *, again: bool) -> None:
        """Enter the open state, failing again or by order."""
        self.go("open")
        self.openings = max(1, self.openings + again)
        grown = min(self.p.open_for * self.p.open_multiplier ** (self.openings - 1), self.p.open_cap)
        self.pause, self.pause_from = grown * (1 - self.p.open_jitter / 2), self.now

    def passes(self) -> bool:
        """A call comes: does it pass?"""
        if self.state == "open" and self.now >= self.pause_from + self.pause:
            self.go("half-open")
        if self.state == "half-open":
            if self.p.probe_wait is not None and any(self.now - at >= self.p.probe_wait for at in self.probing):
                self.open(again=True)
            elif len(self.probing) + len(self.probed) < self.p.probes:
                self.probing.append(self.now)
                return True
        if self.state == "ramping":
            share = self.ramped()
            if share >= 1:
                self.go("closed", forget=False)
            else:
                self.credit += self.p.ramp_start + (1 - self.p.ramp_start) * share
                self.credit -= (passes := self.credit >= 1)
                return passes
        return self.state in ("closed", "disabled", "metrics only")

    def nothing(self, began: float, *, excluded: bool = False) -> None:
        """A call of this generation ended and counts neither way."""
        if self.state == "half-open":
            self.probing.remove(began)
        elif excluded and self.state != "disabled":
            self.counter = 0

    def ended(self, began: float, *, failed: bool) -> None:
        """A call of this generation ended and counts."""
        if self.state == "disabled":
            return
        slow = self.now - began >= self.p.slow_after
        self.seen.append((self.now, failed, slow))
        self.row = self.row + 1 if failed else 0
        self.counter = self.counter + 1 if failed else 0
        if self.state == "half-open":
            self.probing.remove(began)
            self.probed.append((failed, slow))
            self.judge()
        elif self.state in ("closed", "ramping") and self.broken():
            self.open(again=True)

    def judge(self) -> None:
        """Decide by all the probes that have ended."""
        p, failed, slow = self.p, sum(f for f, _ in self.probed), sum(s for _, s in self.probed)
        if (
            (p.failure_rate is None and failed)
            or (p.failure_rate is not None and failed / p.probes >= p.failure_rate)
            or (p.slow_rate is not None and slow / p.probes >= p.slow_rate)
        ):
            self.open(again=True)
        elif len(self.probed) == p.probes:
            self.ramp_from, self.ramp_length, self.credit = self.now, p.ramp * self.pause, 1.0
            self.go("ramping" if self.ramp_length else "closed")

    def window(self) -> list[tuple[float, bool, bool]]:
        """The calls that the window holds."""
        if self.p.window_seconds is None:
            return self.seen[-self.p.window_calls :]
        part = self.p.window_seconds / 10
        return [call for call in self.seen if call[0] // part > self.now // part - 10]

    def rates(self) -> tuple[int, float, float]:
        """How many those are, and the shares of them that failed and were slow."""
        calls = self.window()
        return (
            len(calls),
            sum(f for _, f, _ in calls) / len(calls) if calls else 0.0,
            sum(s for _, _, s in calls) / len(calls) if calls else 0.0,
        )

    def broken(self) -> bool:
        """Whether a rule is broken."""
        p, (calls, failures, slow) = self.p, self.rates()
        enough = calls >= p.minimum_calls
        return (
            (p.consecutive_failures is not None and self.row >= p.consecutive_failures)
            or (enough and p.failure_rate is not None and failures >= p.failure_rate)
            or (enough and p.slow_rate is not None and slow >= p.slow_rate)
        )

    def ramped(self) -> float:
        """The share of the ramp that is over."""
        return (self.now - self.ramp_from) / self.ramp_length if self.ramp_length else 1.0

    def wait(self) -> float:
        """Seconds that a refused call should wait."""
        return {
            "open": max(0.0, self.pause_from + self.pause - self.now),
            "forced open": self.p.open_for,
            "half-open": min(1.0, self.pause or 1.0),
            "ramping": 0.0 if self.ramped() >= 1 else min(1.0, self.pause or 1.0),
        }.get(self.state, 0.0)


@st.composite
def parameters(draw: st.DrawFn) -> BreakerParameters:
    """Every rule and every way back, in numbers that floats hold exactly."""
    rates, slow, row = draw(st.sampled_from([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (1, 1, 1)]))
    jitter = draw(st.sampled_from([0.0, 0.5]))
    return BreakerParameters(
        failure_rate=draw(st.sampled_from([0.25, 0.5, 1.0])) if rates else None,
        slow_rate=draw(st.sampled_from([0.5, 1.0])) if slow else None,
        slow_after=2.0,
        consecutive_failures=draw(st.integers(1, 4)) if row else None,
        window_calls=draw(st.integers(4, 8)),
        window_seconds=draw(st.sampled_from([None, 10.0])),
        minimum_calls=draw(st.integers(1, 4)),
        open_for=8.0,
        open_multiplier=draw(st.sampled_from([1.0, 2.0])),
        open_cap=32.0,
        open_jitter=jitter,
        probes=draw(st.integers(1, 3)),
        probe_wait=draw(st.sampled_from([None, 4.0])),
        ramp=draw(st.sampled_from([0.0, 0.5])),
        ramp_start=1.0 if jitter else 0.25,
    )


class Breaker(RuleBasedStateMachine):
    """The breaker and its model, side by side."""

    @initialize(p=parameters(), judged=st.booleans())
    def begin(self, p: BreakerParameters, judged: bool) -> None:
        """Make both; without a predicate on results, a good call goes a shorter way."""
        self.judged = judged
        self.ours = False  # whether a cancellation is our own deadline's
        self.driver = Driver(
            p, random=Half(), ignore=lambda error: isinstance(error, OSError), exclude=[KeyError],
            is_failed_result=(lambda result: result == 500) if judged else None,
            cancellation_is_failure=lambda: self.ours,
        )  # fmt: skip
        self.model = Model(p, self.driver.clock.monotonic())
        self.under_way: list[tuple[Call, float, int]] = []

    def start(self) -> bool:
        """Begin a call in both; whether it passed."""
        if not self.model.passes():
            with pytest.raises(BreakerOpen) as caught:
                self.driver.call()
            assert caught.value.retry_after == self.model.wait()
            return False
        call = self.driver.call()
        self.under_way.append((call, self.model.now, self.model.generation))
        return True

    def finish(self, index: int, outcome: Any) -> None:
        """End the call at `index` with `outcome` in both."""
        call, began, generation = self.under_way.pop(index % len(self.under_way))
        before = self.model.state, self.model.generation
        if generation == self.model.generation:
            if outcome == "cancelled" or isinstance(outcome, (OSError, Overloaded, KeyError)):
                self.model.nothing(began, excluded=isinstance(outcome, KeyError))
            else:
                failed = outcome == "our deadline" or isinstance(outcome, Boom) or (self.judged and outcome == 500)
                self.model.ended(began, failed=failed)
        opened = before[1] != self.model.generation and self.model.state == "open"
        self.ours = outcome == "our deadline"
        if outcome in ("cancelled", "our deadline"):
            call.cancel()
        elif isinstance(outcome, Exception):
            with pytest.raises(BreakerOpen if opened else type(outcome)) as caught:
                call.end(outcome)
            assert (caught.value.__cause__ if opened else caught.value) is outcome
        else:
            assert call.end(outcome) == outcome

    @rule(outcome=st.sampled_from(["fine", "fine", 500, Boom, Boom, KeyError]), times=st.integers(1, 4))
    def call(self, outcome: Any, times: int) -> None:
        """Calls that end at once."""
        for _ in range(times):
            if self.start():
                self.finish(-1, outcome() if isinstance(outcome, type) else outcome)

    @rule(seconds=st.sampled_from([1.75, 2.0, 4.0]), outcome=st.sampled_from(["fine", Boom]))
    def take_long(self, seconds: float, outcome: Any) -> None:
        """A call that takes its time."""
        if self.start():
            self.advance(seconds)
            self.finish(-1, outcome() if isinstance(outcome, type) else outcome)

    @rule(times=st.integers(1, 4))
    def begin_calls(self, times: int) -> None:
        """Calls that stay under way; in half-open, concurrent probes."""
        for _ in range(times):
            self.start()

    @precondition(lambda self: self.under_way)
    @rule(
        index=st.integers(0, 30),
        outcome=st.sampled_from(["fine", 500, Boom, KeyError, OSError, "cancelled", "our deadline"]),
    )
    def end_one(self, index: int, outcome: Any) -> None:
        """One of those under way ends, of whatever generation."""
        self.finish(index, outcome() if isinstance(outcome, type) else outcome)

    @precondition(lambda self: self.under_way)
    @rule(index=st.integers(0, 30))
    def limiter_refuses(self, index: int) -> None:
        """A limiter of our own refuses below the breaker."""
        self.finish(index, Overloaded("queue", limit=1))

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.75, 4.0, 8.0, 32.0]))
    def advance(self, seconds: float) -> None:
        """Time passes; the wall clock goes where it likes."""
        self.driver.clock.advance(seconds)
        self.driver.clock.step(-7 * seconds)
        self.model.now += seconds

    @rule()
    def wait_out(self) -> None:
        """Exactly as long as it says."""
        self.advance(self.model.wait())

    @rule(order=st.sampled_from(["close", "open", "half_open", "force_open", "disable", "metrics_only", "reset"]))
    def order(self, order: str) -> None:
        """An operator's order."""
        getattr(self.driver.breaker, order)()
        if order == "open":
            self.model.open(again=False)
        else:
            names = {"close": "closed", "reset": "closed", "half_open": "half-open", "disable": "disabled"}
            self.model.go(names.get(order, order.replace("force_", "forced ").replace("_", " ")))

    @invariant()
    def same(self) -> None:
        """All that can be seen is the same; and no more probes are under way than allowed."""
        if not hasattr(self, "model"):
            return
        model, breaker = self.model, self.driver.breaker
        now = breaker.snapshot()
        assert (now.state.value, now.generation) == (model.state, model.generation)
        assert (now.calls, now.failure_rate, now.slow_rate) == model.rates()
        assert (now.consecutive_failures, breaker.fail_counter) == (model.row, model.counter)
        assert now.retry_after == model.wait()
        if model.state == "half-open":
            assert sum(generation == model.generation for *_, generation in self.under_way) <= model.p.probes


TestBreakerModel = Breaker.TestCase
TestBreakerModel.settings = settings(
    max_examples=2500 if FULL else 100,
    stateful_step_count=50 if FULL else 40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
