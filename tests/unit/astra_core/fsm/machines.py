"""A machine with all that one can declare, for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from astra_core.fsm import Machine, Question, Timer, Transition, Within, predicate

__all__ = ["JOB", "Finish", "Job", "JobEvent", "Pause", "Resume", "Start", "Tick"]


class Job(Enum):
    """The states of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Start:
    """Begin."""


@dataclass(frozen=True)
class Pause:
    """Hold on."""


@dataclass(frozen=True)
class Resume:
    """Go on."""


@dataclass(frozen=True)
class Finish:
    """It is over, with so many errors."""

    errors: int = 0


@dataclass(frozen=True)
class Tick:
    """Time is up."""


JobEvent: TypeAlias = Start | Pause | Resume | Finish | Tick


def few_errors(event: Finish, most: int) -> bool:
    """Whether the errors are few enough."""
    return event.errors <= most


def room(_: JobEvent, most: int) -> bool:
    """Whether errors are allowed at all."""
    return most > 0


def deadline(subject: float | None) -> float | None:
    """The deadline that the subject is, in these tests."""
    return subject


FEW = predicate(few_errors)
ROOM: Question[JobEvent, int] = Question(room)

JOB: Machine[Job, JobEvent, int] = Machine(
    name="job",
    states=Job,
    events=(Start, Pause, Resume, Finish, Tick),
    initial=(Job.WAITING, Job.PAUSED),
    final=(Job.DONE, Job.FAILED),
    transitions=(
        Transition(Job.WAITING, Start, Job.RUNNING, ROOM.case(True, name="room")),
        Transition(Job.WAITING, Start, Job.FAILED, ~ROOM.case(True, name="room")),
        Transition(Job.RUNNING, Pause, Job.PAUSED, effects=("tell",)),
        Transition(Job.PAUSED, Resume, Job.RUNNING),
        Transition(Job.RUNNING, Start, Job.RUNNING),
        Transition(Job.RUNNING, Finish, Job.DONE, FEW),
        Transition(Job.RUNNING, Finish, Job.FAILED),
        Transition((Job.RUNNING, Job.PAUSED), Tick, Job.FAILED),
    ),
    within=(
        Within(states=Job.RUNNING, entry=("spin up",), exit=("spin down",)),
        Within(
            states=(Job.RUNNING, Job.PAUSED),
            name="live",
            entry=("lock",),
            exit=("unlock",),
            timers=(Timer(event=Tick(), at=deadline),),
        ),
        Within(states=Job.WAITING, timers=(Timer(event=Start(), after=30.0),)),
    ),
)
