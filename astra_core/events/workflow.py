"""Events of workflows. No field holds a key: keys are without bound, and may be personal."""

from __future__ import annotations

from msgspec import Struct

__all__ = [
    "EventHandled",
    "InstanceStuck",
    "MessageRefused",
    "OutboxRelayed",
    "RelayFailed",
    "StepConflicted",
    "TimerFired",
]


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


class InstanceStuck(Struct, frozen=True):
    """The timers of an instance of `workflow` are due and could not fire; `cause` is the error's class name."""

    workflow: str
    cause: str


class OutboxRelayed(Struct, frozen=True):
    """The relay `relay` published `sent` messages and had them dropped from the outbox, in `seconds`."""

    relay: str
    sent: int
    seconds: float


class RelayFailed(Struct, frozen=True):
    """The relay `relay` could not go on, by `cause`, an error's class name, and tries again after `wait` seconds."""

    relay: str
    cause: str
    wait: float


class MessageRefused(Struct, frozen=True):
    """A message for `topic` can never be published: the relay `relay` put it aside."""

    relay: str
    topic: str
