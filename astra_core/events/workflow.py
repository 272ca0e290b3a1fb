"""Events of workflows. No field holds a key: keys are without bound, and may be personal."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["EventHandled", "StepConflicted", "TimerFired"]


class EventHandled(Struct, frozen=True):
    """The workflow `workflow` handled an `event` that somebody sent.

    `outcome` is `begun`, `taken`, `ignored`, `refused`, `deferred`, or `duplicate` of one that it had taken before.
    """

    workflow: str
    event: str
    outcome: str


class TimerFired(Struct, frozen=True):
    """A timer of an instance of `workflow` sent its event, `lateness` seconds after it was due."""

    workflow: str
    timer: str
    outcome: str
    lateness: float


class StepConflicted(Struct, frozen=True):
    """Somebody else changed an instance of `workflow` between reading and writing it, so a step is decided again."""

    workflow: str
