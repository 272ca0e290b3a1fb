from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from astra_core.fsm import Machine, Transition, to_mermaid


class Job(Enum):
    """States whose names Mermaid cannot all take as they are."""

    WAITING = 1
    IN_WORK = "in work"
    END = "end"


@dataclass(frozen=True)
class Run:
    """An event."""

    worker: str


@dataclass(frozen=True)
class Stop:
    """An event."""


def _is_idle(event: Run, context: None) -> bool:
    return True


def _notify() -> None:
    """Stand for an effect that is a function."""


JOB: Machine[Job, Run | Stop, None] = Machine(
    name="job",
    states=Job,
    events=(Run, Stop),
    initial=Job.WAITING,
    final=(Job.END,),
    transitions=(
        Transition(Job.WAITING, Run, Job.IN_WORK, _is_idle, effects=(_notify, "log: it; --> 'x'")),
        Transition(Job.WAITING, Run, Job.WAITING),
        Transition((Job.WAITING, Job.IN_WORK), Stop, Job.END),
    ),
)


def test_the_diagram_holds_every_state_arrow_guard_and_effect() -> None:
    """Names that Mermaid reserves or cannot parse get an alias, labels lose what it reads as syntax."""
    assert to_mermaid(JOB).splitlines() == [
        "stateDiagram-v2",
        '    state "in work" as s1',
        '    state "end" as s2',
        "    [*] --> waiting",
        "    waiting --> s1 : Run [is idle] / notify, log it - x",
        "    waiting --> waiting : Run [else]",
        "    waiting --> s2 : Stop",
        "    s1 --> s2 : Stop",
        "    s2 --> [*]",
    ]
