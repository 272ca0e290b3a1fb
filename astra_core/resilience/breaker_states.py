"""The states of a breaker, and what moves it from one to another, as a machine that is checked when it is built.

Source: Michael Nygard, "Release It!", for closed, open and half-open; resilience4j for forced open, disabled and
metrics only; ramping is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from astra_core.fsm import Machine, Transition, Unhandled

__all__ = [
    "MACHINE",
    "OVERRIDES",
    "BreakerState",
    "Close",
    "Disable",
    "ForceOpen",
    "HalfOpen",
    "MetricsOnly",
    "Move",
    "Open",
    "ProbesFailed",
    "ProbesPassed",
    "RampDone",
    "Tripped",
    "Waited",
]


class BreakerState(StrEnum):
    """What a breaker does with calls."""

    CLOSED = "closed"
    """Every call passes and is counted."""
    OPEN = "open"
    """No call passes until the pause is over."""
    HALF_OPEN = "half-open"
    """A few calls pass, to see how they fare."""
    RAMPING = "ramping"
    """A growing share of the calls passes and is counted."""
    FORCED_OPEN = "forced open"
    """No call passes until an operator says otherwise."""
    DISABLED = "disabled"
    """Every call passes, none is counted."""
    METRICS_ONLY = "metrics only"
    """Every call passes and is counted; nothing opens."""


@dataclass(frozen=True, slots=True)
class Tripped:
    """The calls in the window, or those in a row, broke a rule; `reason` says which."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waited:
    """The pause is over, and a call is there to probe with."""

    reason: str = "the pause is over"


@dataclass(frozen=True, slots=True)
class ProbesFailed:
    """The probes fared badly, or had no result in time; `reason` says which."""

    reason: str


@dataclass(frozen=True, slots=True)
class ProbesPassed:
    """The probes fared well; the ramp from here takes `ramp` seconds."""

    ramp: float
    reason: str = "the probes passed"


@dataclass(frozen=True, slots=True)
class RampDone:
    """The ramp reached its end."""

    reason: str = "the ramp is done"


@dataclass(frozen=True, slots=True)
class _Command:
    reason: str = "by hand"


@dataclass(frozen=True, slots=True)
class Open:
    """Somebody, or the storage that it shares, asks for it open for one pause, which began `age` seconds ago."""

    reason: str = "by hand"
    age: float = 0.0


class HalfOpen(_Command):
    """Somebody, or the shared storage, asks for probes now."""


class Close(_Command):
    """Somebody, or the shared storage, asks for it closed, and whatever it remembers forgotten."""


class ForceOpen(_Command):
    """An operator asks for it open for good."""


class Disable(_Command):
    """An operator takes the breaker out of the way."""


class MetricsOnly(_Command):
    """An operator wants it to count and not to act."""


Move: TypeAlias = (
    Tripped
    | Waited
    | ProbesFailed
    | ProbesPassed
    | RampDone
    | Open
    | HalfOpen
    | Close
    | ForceOpen
    | Disable
    | MetricsOnly
)


def ramps(event: ProbesPassed, _: None) -> bool:
    """Whether there is a ramp at all."""
    return event.ramp > 0


OVERRIDES = (BreakerState.FORCED_OPEN, BreakerState.DISABLED, BreakerState.METRICS_ONLY)
"""States that an operator chose, and only an operator ends."""

_ANY = tuple(BreakerState)

MACHINE: Machine[BreakerState, Move, None] = Machine(
    name="breaker",
    states=BreakerState,
    events=(
        Tripped, Waited, ProbesFailed, ProbesPassed, RampDone, Open, HalfOpen, Close, ForceOpen, Disable, MetricsOnly,
    ),
    initial=BreakerState.CLOSED,
    transitions=(
        Transition(BreakerState.CLOSED, Tripped, BreakerState.OPEN),
        Transition(BreakerState.OPEN, Waited, BreakerState.HALF_OPEN),
        Transition(BreakerState.HALF_OPEN, ProbesFailed, BreakerState.OPEN),
        Transition(BreakerState.HALF_OPEN, ProbesPassed, BreakerState.RAMPING, ramps),
        Transition(BreakerState.HALF_OPEN, ProbesPassed, BreakerState.CLOSED),
        Transition(BreakerState.RAMPING, Tripped, BreakerState.OPEN),
        Transition(BreakerState.RAMPING, RampDone, BreakerState.CLOSED),
        Transition(_ANY, Open, BreakerState.OPEN),
        Transition(_ANY, HalfOpen, BreakerState.HALF_OPEN),
        Transition(_ANY, Close, BreakerState.CLOSED),
        Transition(_ANY, ForceOpen, BreakerState.FORCED_OPEN),
        Transition(_ANY, Disable, BreakerState.DISABLED),
        Transition(_ANY, MetricsOnly, BreakerState.METRICS_ONLY),
    ),
    unhandled=Unhandled.IGNORE,
)  # fmt: skip
