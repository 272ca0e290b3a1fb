"""The circuit inside a breaker: who may pass, what the outcomes mean, when the state moves. No call is made here.

Three things hold in every state. Each move raises `generation`, and whoever reports an outcome says in which generation
the call began, so a late result never moves a newer state. Reading changes nothing: time alone moves no state, the next
call does. Time is monotonic, so a step of the wall clock neither opens nor holds it.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from astra_core.fsm import transition
from astra_core.resilience.breaker_states import (
    MACHINE,
    BreakerState,
    Open,
    ProbesFailed,
    ProbesPassed,
    RampDone,
    Tripped,
    Waited,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from astra_core.clock import Clock
    from astra_core.resilience.breaker_parameters import BreakerParameters
    from astra_core.resilience.breaker_states import Move

__all__ = ["Circuit", "Refusal"]

_SOON = 1.0
"""Seconds after which a refused call may come again while probes or the ramp are under way."""


class Refusal(Exception):  # noqa: N818 - the breaker makes a BreakerOpen of it
    """A call may not pass; it makes sense to come again after `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after


class Circuit:
    """A breaker's state, its window, its pauses and its probes.

    A call passes `gate()` unless that is None, takes note of `generation` and of the time, and in the end reports
    `settle(now, started, failed)` or, when it counts neither way, `release(started)`; either only if the generation is
    still the same. `gate`, `settle` and `release` are the present state's own, so a closed circuit asks no question
    about states.
    """

    def __init__(
        self,
        parameters: BreakerParameters,
        *,
        clock: Clock,
        random: Random,
        moved: Callable[[BreakerState, Move], None],
        background: bool,
    ) -> None:
        self.state = BreakerState.CLOSED
        self.generation = 0
        self.failures_in_row = 0
        self.openings = 0
        """Times that it opened since it was last closed."""
        self.open_seconds = 0.0
        """The pause in force: the present one, or the last."""
        self.reopens_at = 0.0
        """When the present pause ends, in monotonic seconds."""
        self._now = clock.monotonic
        self._random = random
        self._moved = moved
        self._background = background
        self._prober_until = 0.0
        self._opened_at = self._draw = 0.0
        self._probes: list[float] = []  # when those that run began
        self.probes_done = self._failed = self._slow = 0
        self._ramp_from = self._ramp_seconds = self._ramp_credit = 0.0
        self._slow_after = parameters.slow_after
        self._parameters = parameters
        self.window = parameters.new_window()
        self._wire()

    @property
    def parameters(self) -> BreakerParameters:
        """The knobs in force. New ones keep the state; only a window of another shape begins empty."""
        return self._parameters

    @parameters.setter
    def parameters(self, parameters: BreakerParameters) -> None:
        if not parameters.same_window(self._parameters):
            self.window = parameters.new_window()
        self._parameters = parameters
        self._slow_after = parameters.slow_after
        if self.state is BreakerState.OPEN:
            self._pause()
        elif self.state is BreakerState.HALF_OPEN and self.probes_done:
            self._judge()

    def move(self, event: Move) -> None:
        """Let the machine decide what `event` means here, and enter the state it names."""
        before = self.state
        decision = transition(MACHINE, before, event)
        if not decision.accepted:
            return
        self.state = decision.target
        self.generation += 1
        self._enter(event)
        self._wire()
        self._moved(before, event)

    def wait(self) -> float:
        """Seconds after which a call that is refused now may come again; 0 where none is refused."""
        if self.state is BreakerState.OPEN:
            return max(0.0, self.reopens_at - self._now())
        if self.state is BreakerState.FORCED_OPEN:
            return self._parameters.open_for
        if self.state is BreakerState.HALF_OPEN or (self.state is BreakerState.RAMPING and self._ramped() < 1):
            return min(_SOON, self.open_seconds or _SOON)
        return 0.0

    def ramp_left(self) -> float:
        """Seconds until the ramp lets every call pass."""
        return max(0.0, 1 - self._ramped()) * self._ramp_seconds

    def end_ramp(self) -> None:
        """Close after a ramp that is over; without this the next call does."""
        if self.state is BreakerState.RAMPING and self._ramped() >= 1:
            self.move(RampDone())

    def _ramped(self) -> float:
        return (self._now() - self._ramp_from) / self._ramp_seconds

    # --- entering a state

    def _enter(self, event: Move) -> None:
        state = self.state
        if state is BreakerState.OPEN:
            self.openings += isinstance(event, (Tripped, ProbesFailed)) or self.openings == 0
            self._opened_at = self._now()
            self._draw = self._random.random()
            self._pause()
            if isinstance(event, Open) and event.age:
                self._opened_at -= min(event.age, self.open_seconds)
                self._pause()
        elif state is BreakerState.HALF_OPEN:
            self._probes.clear()
            self.probes_done = self._failed = self._slow = 0
            self._prober_until = self._now() + self._patience()
            self.window.clear()
        elif state is BreakerState.RAMPING and isinstance(event, ProbesPassed):
            self._ramp_from = self._now()
            self._ramp_seconds = event.ramp
            self._ramp_credit = 1.0  # so that the first call passes, however few there are
            self._forget()
        elif state is not BreakerState.FORCED_OPEN:
            self.openings = 0
            if not isinstance(event, RampDone):
                self._forget()

    def _pause(self) -> None:
        self.open_seconds = self._parameters.open_duration(self.openings, self._draw)
        self.reopens_at = self._opened_at + self.open_seconds
        self._prober_until = self.reopens_at + self._patience()

    def _patience(self) -> float:
        """How long a prober may keep quiet before it is given up and calls are probes again."""
        return self._parameters.probe_wait or max(self.open_seconds, _SOON)

    def _forget(self) -> None:
        self.window.clear()
        self.failures_in_row = 0

    def _wire(self) -> None:
        gate, settle, release = {
            BreakerState.CLOSED: (None, self._count, self._nothing),
            BreakerState.OPEN: (self._gate_open, self._ignore, self._nothing),
            BreakerState.HALF_OPEN: (self._gate_half_open, self._count_probe, self._release_probe),
            BreakerState.RAMPING: (self._gate_ramp, self._count, self._nothing),
            BreakerState.FORCED_OPEN: (self._refuse, self._ignore, self._nothing),
            BreakerState.DISABLED: (None, self._ignore, self._nothing),
            BreakerState.METRICS_ONLY: (None, self._record, self._nothing),
        }[self.state]
        self.gate: Callable[[], None] | None = gate
        self.settle: Callable[[float, float, int], None] = settle
        self.release: Callable[[float], None] = release

    # --- who may pass

    def _refuse(self) -> None:
        raise Refusal(self.wait())

    def _gate_open(self) -> None:
        now = self._now()
        if now < self.reopens_at or (self._background and now < self._prober_until):
            self._refuse()
        self.move(Waited())
        if self.state is BreakerState.HALF_OPEN:  # unless a listener thought otherwise
            self._take_probe()
        elif self.gate is not None:
            self._refuse()

    def _gate_half_open(self) -> None:
        if self._background and self._now() < self._prober_until:
            self._refuse()
        self._take_probe()

    def take_background_probe(self) -> None:
        """The prober's gate: opens a pause that is over to probes, and takes the place of one."""
        if self.state is BreakerState.OPEN and self._now() >= self.reopens_at:
            self.move(Waited())
        if self.state is not BreakerState.HALF_OPEN:
            self._refuse()
        self._take_probe()
        self._prober_until = self._now() + self._patience()

    def _take_probe(self) -> None:
        now, rules = self._now(), self._parameters
        if self._probes and rules.probe_wait is not None and now - self._probes[0] >= rules.probe_wait:
            self.move(ProbesFailed("a probe had no result in time"))
            self._refuse()
        if len(self._probes) + self.probes_done >= rules.probes:
            self._refuse()
        self._probes.append(now)

    def _gate_ramp(self) -> None:
        passed = self._ramped()
        if passed >= 1:
            self.move(RampDone())
            return
        start = self._parameters.ramp_start
        self._ramp_credit += start + (1 - start) * passed
        if self._ramp_credit < 1:
            self._refuse()
        self._ramp_credit -= 1

    # --- what an outcome means

    def _record(self, now: float, started: float, failed: int) -> None:
        self.window.record(now, failed | 2 if now - started >= self._slow_after else failed)
        self.failures_in_row = self.failures_in_row + 1 if failed else 0

    def _count(self, now: float, started: float, failed: int) -> None:
        window = self.window
        window.record(now, failed | 2 if now - started >= self._slow_after else failed)
        self.failures_in_row = self.failures_in_row + 1 if failed else 0
        # Also after a good call: it may complete the minimum, or time may have taken good calls out of the window.
        if (window.failures or window.slow) and (reason := self._broken_rule()):
            self.move(Tripped(reason))

    def _broken_rule(self) -> str:
        rules, window = self._parameters, self.window
        if rules.consecutive_failures is not None and self.failures_in_row >= rules.consecutive_failures:
            return "failures in a row"
        if window.calls >= rules.minimum_calls:
            if rules.failure_rate is not None and window.failures >= rules.failure_rate * window.calls:
                return "failure rate"
            if rules.slow_rate is not None and window.slow >= rules.slow_rate * window.calls:
                return "slow-call rate"
        return ""

    def _count_probe(self, now: float, started: float, failed: int) -> None:
        self._release_probe(started)
        self._record(now, started, failed)
        self.probes_done += 1
        self._failed += failed
        self._slow += now - started >= self._slow_after
        self._judge()

    def _judge(self) -> None:
        """Decide as soon as the probes that are still to come cannot change it."""
        rules = self._parameters
        if self._failed and (rules.failure_rate is None or self._failed >= rules.failure_rate * rules.probes):
            self.move(ProbesFailed("probes failed"))
        elif self._slow and rules.slow_rate is not None and self._slow >= rules.slow_rate * rules.probes:
            self.move(ProbesFailed("probes were slow"))
        elif self.probes_done >= rules.probes:
            self.move(ProbesPassed(rules.ramp * self.open_seconds))

    def _release_probe(self, started: float) -> None:
        del self._probes[bisect_right(self._probes, started) - 1]

    def _ignore(self, now: float, started: float, failed: int) -> None:
        """Nothing is counted here."""

    def _nothing(self, started: float) -> None:
        """No place was taken, so none is given back."""
