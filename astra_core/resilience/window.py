"""Sliding windows over the outcomes of calls: the last N calls, or the calls of the last seconds.

Source: the two windows of resilience4j (`CircuitBreaker`, "Count-based" and "Time-based sliding window"). Both keep
their totals as they go, so that recording a call and reading a rate cost the same whatever the size.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import Protocol

__all__ = ["BUCKETS", "CountWindow", "Counts", "Outcome", "TimeWindow", "Window"]

BUCKETS = 10
"""Parts of a time window: it forgets a tenth of its length at a time."""

_EMPTY = 0xFF
"""A place of the ring that holds no call yet."""


class Outcome(IntFlag):
    """What a call that counts was. A call can be both failed and slow."""

    GOOD = 0
    FAILED = 1
    SLOW = 2


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls in a window, and how many of them failed and were slow."""

    calls: int = 0
    failures: int = 0
    slow: int = 0

    @property
    def failure_rate(self) -> float:
        """Share of the calls that failed, 0 to 1; 0 without calls."""
        return self.failures / self.calls if self.calls else 0.0

    @property
    def slow_rate(self) -> float:
        """Share of the calls that were slow, 0 to 1; 0 without calls."""
        return self.slow / self.calls if self.calls else 0.0


class Window(Protocol):
    """Outcomes of calls, old ones forgotten. The totals are those after the last `record`."""

    calls: int
    failures: int
    slow: int

    def record(self, now: float, outcome: int) -> None:
        """Add a call that ended at `now` (monotonic seconds), its outcome as the bits of `Outcome`."""
        ...

    def counts(self, now: float) -> Counts:
        """The totals at `now`; reading them changes nothing."""
        ...

    def clear(self) -> None:
        """Forget every call."""
        ...


class CountWindow:
    """The last `size` calls, in a ring of a byte each. Time means nothing to it."""

    __slots__ = ("_place", "_ring", "calls", "failures", "size", "slow")

    def __init__(self, size: int) -> None:
        self.size = size
        self._place = 0
        self.calls = self.failures = self.slow = 0
        self.clear()

    def record(self, now: float, outcome: int) -> None:
        """Put the call in the place of the oldest."""
        place = self._place
        forgotten = self._ring[place]
        if forgotten != outcome:  # a healthy dependency overwrites good calls with good calls: no total moves
            self._ring[place] = outcome
            self._count(forgotten, outcome)
        place += 1
        self._place = place if place < self.size else 0

    def _count(self, forgotten: int, outcome: int) -> None:
        if forgotten == _EMPTY:
            forgotten = 0
            self.calls += 1
        self.failures += (outcome & 1) - (forgotten & 1)
        self.slow += (outcome >> 1) - (forgotten >> 1)

    def counts(self, now: float) -> Counts:
        """The totals."""
        return Counts(self.calls, self.failures, self.slow)

    def clear(self) -> None:
        """Forget every call."""
        self._ring = bytearray([_EMPTY]) * self.size
        self._place = self.calls = self.failures = self.slow = 0

    def __repr__(self) -> str:
        return f"CountWindow({self.calls} of {self.size} calls, {self.failures} failed, {self.slow} slow)"


class TimeWindow:
    """The calls of the last `seconds`, in `BUCKETS` parts that are forgotten whole.

    Parts begin at whole multiples of their length on the monotonic clock, so a call is remembered for nine to ten
    tenths of `seconds`.
    """

    __slots__ = ("_buckets", "_ends", "_part", "_turn", "calls", "failures", "seconds", "slow")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._part = seconds / BUCKETS
        self._turn = 0
        self._ends = 0.0
        self.calls = self.failures = self.slow = 0
        self.clear()

    def record(self, now: float, outcome: int) -> None:
        """Add the call to the present part, and forget the parts that are over."""
        if now >= self._ends:
            self._roll(now)
        bucket = self._buckets[self._turn % BUCKETS]
        self.calls += 1
        bucket[0] += 1
        if outcome:
            failed, slow = outcome & 1, outcome >> 1
            self.failures += failed
            bucket[1] += failed
            self.slow += slow
            bucket[2] += slow

    def _roll(self, now: float) -> None:
        turn = int(now // self._part)
        for over in range(max(self._turn + 1, turn - BUCKETS + 1), turn + 1):
            bucket = self._buckets[over % BUCKETS]
            self.calls -= bucket[0]
            self.failures -= bucket[1]
            self.slow -= bucket[2]
            bucket[:] = 0, 0, 0
        self._turn = turn
        self._ends = (turn + 1) * self._part

    def counts(self, now: float) -> Counts:
        """The totals of the parts that are not over at `now`."""
        first = int(now // self._part) - BUCKETS + 1
        live = [self._buckets[turn % BUCKETS] for turn in range(max(first, self._turn - BUCKETS + 1), self._turn + 1)]
        return Counts(*(sum(column) for column in zip(*live, strict=True))) if live else Counts()

    def clear(self) -> None:
        """Forget every call."""
        self._buckets = [[0, 0, 0] for _ in range(BUCKETS)]
        self._turn = 0
        self._ends = 0.0
        self.calls = self.failures = self.slow = 0

    def __repr__(self) -> str:
        return f"TimeWindow({self.calls} calls in {self.seconds:g} s, {self.failures} failed, {self.slow} slow)"
