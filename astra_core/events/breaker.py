"""Events of circuit breakers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BreakerClosed", "BreakerHalfOpened", "BreakerOpened", "BreakerOverridden", "BreakerRamping", "CallRejected"]


@dataclass(frozen=True, slots=True)
class BreakerOpened:
    """The breaker `name` lets no call pass for `seconds`; it did so `openings` times since it was last closed.

    `reason` says why: the rule that was broken, the probes that failed, or `by hand`. The rates are its window's.
    """

    name: str
    reason: str
    seconds: float
    openings: int
    failure_rate: float
    slow_rate: float
    generation: int


@dataclass(frozen=True, slots=True)
class BreakerHalfOpened:
    """The breaker `name` lets `probes` calls pass, to see how they fare."""

    name: str
    reason: str
    probes: int
    generation: int


@dataclass(frozen=True, slots=True)
class BreakerRamping:
    """The breaker `name` lets a growing share of the calls pass, all of them after `seconds`."""

    name: str
    seconds: float
    generation: int


@dataclass(frozen=True, slots=True)
class BreakerClosed:
    """The breaker `name` lets every call pass again."""

    name: str
    reason: str
    generation: int


@dataclass(frozen=True, slots=True)
class BreakerOverridden:
    """An operator took the breaker `name` out of its own hands: `forced open`, `disabled` or `metrics only`."""

    name: str
    state: str
    generation: int


@dataclass(frozen=True, slots=True)
class CallRejected:
    """The breaker `name`, in this `state`, refused a call, which may come again after `retry_after` seconds."""

    name: str
    state: str
    retry_after: float
