"""A concurrency limit that finds itself: Gradient2.

Source: `Gradient2Limit` and `WindowedLimit` of Netflix's concurrency-limits (2018), after TCP Vegas: compare how long
calls take now with how long they take in the long run. When they take longer, a queue is building up on the other side,
and the limit falls by that gradient; when not, it grows by `headroom`. Chosen over AIMD because that one learns only
from losses, when callers have already been hurt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astra_core.clock import SystemClock

if TYPE_CHECKING:
    from astra_core.clock import Clock

__all__ = ["Gradient2", "Gradient2Parameters"]

_WARM_UP = 10
"""Windows over which the long-run latency is a plain average, before it is an exponential one."""
_DRIFT = 0.95
"""By how much a window lowers a long-run latency that is over twice the present one: load has ended, forget faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient2Parameters:
    """The limit starts at `initial` and stays within `minimum` and `maximum`.

    It moves once a `window` (seconds) that holds at least `samples` calls. `tolerance`: how many times the long-run
    latency is still no queue. `headroom`: by how many calls the limit may grow a step. `smoothing`: the share of a step
    that is taken. `memory`: windows over which the long-run latency is averaged.
    """

    initial: int = 20
    minimum: int = 10
    maximum: int = 200
    window: float = 1.0
    samples: int = 10
    tolerance: float = 1.5
    headroom: int = 4
    smoothing: float = 0.2
    memory: int = 600

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.initial <= self.maximum:
            raise ValueError(f"an adaptive limit needs 1 <= minimum <= initial <= maximum: {self}")
        if self.tolerance < 1 or not 0 < self.smoothing <= 1 or min(self.window, self.memory) <= 0:
            raise ValueError(f"tolerance >= 1, 0 < smoothing <= 1, and a window and a memory above 0: {self}")


class Gradient2:
    """An `AdaptiveLimit`. `parameters` may be replaced while it runs; what it learnt stays."""

    def __init__(self, *, parameters: Gradient2Parameters | None = None, clock: Clock | None = None) -> None:
        self.parameters = parameters or Gradient2Parameters()
        self._now = (clock or SystemClock()).monotonic
        self._estimate = float(self.parameters.initial)
        self._long = 0.0
        self._windows = 0
        self._peak = 0
        self._begin(self._now())

    @property
    def limit(self) -> int:
        """Calls at once."""
        return int(self._estimate)

    def observe(self, seconds: float, in_use: int) -> int:
        """Take note of a call that took `seconds` while `in_use` ran, itself included; the limit from now on."""
        self._count += 1
        self._total += seconds
        if in_use > self._peak:
            self._peak = in_use
        now = self._now()
        if now >= self._ends and self._count >= self.parameters.samples:
            self._step(self._total / self._count, self._peak)
            self._begin(now)
        return int(self._estimate)

    def _begin(self, now: float) -> None:
        self._ends = now + self.parameters.window
        self._count = 0
        self._total = 0.0
        self._peak = 0

    def _step(self, short: float, peak: int) -> None:
        parameters, estimate = self.parameters, self._estimate
        long = self._average(short)
        if long > 2 * short:
            self._long *= _DRIFT
        if peak < estimate / 2:  # so few calls say nothing about a limit of so many
            return
        gradient = max(0.5, min(1.0, parameters.tolerance * long / short)) if short > 0 else 1.0
        target = estimate * gradient + parameters.headroom
        moved = estimate * (1 - parameters.smoothing) + target * parameters.smoothing
        self._estimate = max(float(parameters.minimum), min(float(parameters.maximum), moved))

    def _average(self, sample: float) -> float:
        self._windows += 1
        weight = 1 / self._windows if self._windows <= _WARM_UP else 2 / (self.parameters.memory + 1)
        self._long += (sample - self._long) * weight
        return self._long

    def __repr__(self) -> str:
        return f"Gradient2(limit={self.limit}, long_run={self._long:.4f} s)"
