"""What a breaker is told: when to open, for how long, and how to come back."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from astra_core.resilience.window import CountWindow, TimeWindow, Window

__all__ = ["BreakerParameters"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerParameters:
    """The knobs of a breaker; times in seconds, rates and shares from 0 to 1. Each rule is off when it is None.

    When it opens: `failure_rate` or `slow_rate` of the calls in the window reached, once the window holds
    `minimum_calls`, a call being slow that took `slow_after` or longer; or `consecutive_failures` in a row. The window
    is the last `window_calls`, or the calls of the last `window_seconds` when that is given.

    For how long: `open_for`, times `open_multiplier` for each time that it opens again before it has closed, at most
    `open_cap`, shortened by a random share of up to `open_jitter`.

    How it comes back: `probes` calls are let through, no more. With a `failure_rate` the probes are judged by the
    rates, without one the first failure opens it again; so does a probe that has no result after `probe_wait`, once the
    next call comes (None: it waits for ever). Then a growing share of the calls passes, from `ramp_start` to all of
    them, over `ramp` times the pause that was in force; 0 closes it at once.
    """

    failure_rate: float | None = 0.5
    slow_rate: float | None = None
    slow_after: float = inf
    consecutive_failures: int | None = None
    window_calls: int = 100
    window_seconds: float | None = None
    minimum_calls: int = 10
    open_for: float = 5.0
    open_multiplier: float = 2.0
    open_cap: float = 60.0
    open_jitter: float = 0.1
    probes: int = 3
    probe_wait: float | None = 30.0
    ramp: float = 0.5
    ramp_start: float = 0.1

    def __post_init__(self) -> None:
        if problems := [text for holds, text in self._demands() if not holds]:
            raise ValueError(f"a breaker needs {', '.join(problems)}: {self}")

    @classmethod
    def consecutive(cls, failures: int, *, open_for: float = 60.0) -> BreakerParameters:
        """aiobreaker's behaviour: so many failures in a row open it, one probe decides, the pause never grows."""
        return cls(
            failure_rate=None,
            consecutive_failures=failures,
            open_for=open_for,
            open_multiplier=1.0,
            open_cap=inf,
            open_jitter=0.0,
            probes=1,
            ramp=0.0,
        )

    def new_window(self) -> Window:
        """An empty window of the declared kind and size."""
        return CountWindow(self.window_calls) if self.window_seconds is None else TimeWindow(self.window_seconds)

    def same_window(self, other: BreakerParameters) -> bool:
        """Whether calls recorded under `other` may stay where they are."""
        return (self.window_calls, self.window_seconds) == (other.window_calls, other.window_seconds)

    def open_duration(self, openings: int, draw: float) -> float:
        """Seconds of the pause after so many openings in a row (from 1); `draw` in [0, 1) decides the jitter.

        Jitter only shortens, so that `open_cap` is a cap, and "twice the open duration" a promise.
        """
        try:
            grown = self.open_for * self.open_multiplier ** max(0, openings - 1)
        except OverflowError:
            grown = inf
        return min(grown, max(self.open_cap, self.open_for)) * (1.0 - self.open_jitter * draw)

    def _demands(self) -> tuple[tuple[bool, str], ...]:
        rates = [rate for rate in (self.failure_rate, self.slow_rate) if rate is not None]
        return (
            (all(0 < rate <= 1 for rate in rates), "rates above 0 and up to 1"),
            (self.slow_rate is None or self.slow_after < inf, "slow_after with slow_rate"),
            (self.slow_after > 0, "slow_after above 0"),
            (self.consecutive_failures is None or self.consecutive_failures >= 1, "consecutive_failures of 1 or more"),
            (bool(rates) or self.consecutive_failures is not None, "a rule by which it opens"),
            (min(self.window_calls, self.minimum_calls, self.probes) >= 1, "whole numbers of 1 or more"),
            (
                not rates or self.window_seconds is not None or self.minimum_calls <= self.window_calls,
                "minimum_calls within the window",
            ),
            (self.window_seconds is None or 0 < self.window_seconds < inf, "window_seconds above 0"),
            (0 <= self.open_for < inf and self.open_cap >= 0, "open_for and open_cap of 0 or more"),
            (self.open_multiplier >= 1, "open_multiplier of 1 or more"),
            (0 <= self.open_jitter < 1, "open_jitter from 0 to below 1"),
            (self.probe_wait is None or self.probe_wait > 0, "probe_wait above 0"),
            (0 <= self.ramp < inf and 0 < self.ramp_start <= 1, "ramp of 0 or more and ramp_start above 0 and up to 1"),
        )
