"""The retry budget: retries are a share of requests, so that they never multiply the load on what is failing.

Source: Finagle's `RetryBudget` and the leaky `TokenBucket` under it (Twitter), with its defaults: each request puts a
deposit in, each retry takes one retry's worth out, both are forgotten after the window, and a reserve lets clients
with little traffic retry too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astra_core.clock import SystemClock

if TYPE_CHECKING:
    from astra_core.clock import Clock

__all__ = ["RetryBudget", "RetryBudgetParameters"]

_SLICES = 10
"""Parts of the window that are forgotten one at a time; so a deposit lives between 90 and 100 % of the window."""
_RETRY = 1000
"""What a retry costs. Whole numbers, so that nothing drifts however long the bucket lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudgetParameters:
    """Retries allowed: the share `ratio` of requests, and `floor` a second, both summed over `window` seconds.

    As in Finagle the floor's whole window (100 retries by default) may be spent at once.
    """

    ratio: float = 0.2
    floor: float = 10.0
    window: float = 10.0

    def __post_init__(self) -> None:
        if self.ratio < 0 or self.floor < 0 or self.window <= 0:
            raise ValueError(f"a retry budget needs ratio >= 0, floor >= 0 and a window above 0: {self}")


class RetryBudget:
    """One bucket for all callers of one dependency: hand the same object to each of their retry policies.

    `parameters` may be replaced while it runs. A new `ratio` counts for later deposits, a new `window` starts afresh.
    """

    def __init__(self, *, parameters: RetryBudgetParameters | None = None, clock: Clock | None = None) -> None:
        self._now = (clock or SystemClock()).monotonic
        self.parameters = parameters or RetryBudgetParameters()

    @property
    def parameters(self) -> RetryBudgetParameters:
        """The knobs in force."""
        return self._parameters

    @parameters.setter
    def parameters(self, new: RetryBudgetParameters) -> None:
        span = new.window / _SLICES
        if getattr(self, "_span", None) != span:
            self._span = span
            self._slices = [0] * _SLICES
            self._sum = 0
            self._at = int(self._now() / span)
        self._parameters = new
        self._deposit = round(new.ratio * _RETRY)
        self._reserve = round(new.floor * new.window * _RETRY)

    @property
    def balance(self) -> int:
        """Retries that could be made now; below 0 never, though what was spent may still wait to be forgotten."""
        self._forget()
        return max(0, (self._sum + self._reserve) // _RETRY)

    def deposit(self) -> None:
        """Count one request: a first try, never a retry."""
        self._add(self._deposit)

    def try_withdraw(self) -> bool:
        """Take one retry out; False, and nothing is taken, when the budget does not hold one."""
        self._forget()
        if self._sum + self._reserve < _RETRY:
            return False
        self._add(-_RETRY)
        return True

    def _add(self, amount: int) -> None:
        now = int(self._now() / self._span)
        if now != self._at:
            self._forget()
        self._slices[now % _SLICES] += amount
        self._sum += amount

    def _forget(self) -> None:
        now = int(self._now() / self._span)
        for passed in range(self._at + 1, min(now, self._at + _SLICES) + 1):
            self._sum -= self._slices[passed % _SLICES]
            self._slices[passed % _SLICES] = 0
        self._at = now

    def __repr__(self) -> str:
        return f"RetryBudget(balance={self.balance}, {self._parameters})"
