from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from astra_core.fsm import Machine, Transition, hops, to_dot, to_mermaid
from tests.unit.astra_core.fsm.machines import JOB as FULL


class Job(Enum):
    """States whose names Mermaid cannot all take as they are."""

    WAITING = 1
    IN_WORK = "in work"
    END = "end"


class Alike(Enum):
    """States whose names get in the way of those that a diagram gives, or of each other."""

    A = "s1"
    B = "end"
    C = "composite0"
    D = "same"
    SAME = 5


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


def test_every_state_has_an_id_of_its_own() -> None:
    """A name that could be another state's alias, or a composite's, and a name that two states share, are none."""
    states = list(Alike)
    machine: Machine[Alike, Stop, None] = Machine(
        name="job",
        states=Alike,
        events=(Stop,),
        initial=states[0],
        final=(states[-1],),
        transitions=tuple(Transition(one, Stop, other) for one, other in pairwise(states)),
    )
    assert to_mermaid(machine).splitlines()[1:6] == [
        f'    state "{name}" as s{place}' for place, name in enumerate(["s1", "end", "composite0", "same", "same"])
    ]


def test_mermaid_draws_composites_and_what_states_do() -> None:
    """A composite stands round its states; entry, exit and timers are notes, at the end."""
    drawn = to_mermaid(FULL).splitlines()
    assert drawn[1:5] == ['    state "live" as composite1 {', "        running", "        paused", "    }"]
    assert drawn[-3:] == [
        "    note right of running : entry / spin up, exit / spin down",
        "    note right of composite1 : entry / lock, exit / unlock, at deadline / Tick",
        "    note right of waiting : after 30 s / Start",
    ]


def test_dot_draws_the_same() -> None:
    """Graphviz gets what states do, two borders for final ones, composites as clusters, and quoted labels."""
    drawn = to_dot(FULL).splitlines()
    assert drawn[0] == 'digraph "job" {'
    assert drawn[-1] == "}"
    assert '    s0 [label="waiting\\nafter 30 s / Start"];' in drawn
    assert '    s3 [label="done", peripheries=2];' in drawn
    assert '    s0 -> s1 [label="Start [room]"];' in drawn
    assert "    subgraph cluster_composite1 {" in drawn
    assert sum("->" in line for line in drawn) == len(hops(FULL)) + len(FULL.initials)
    assert "log: it; --> 'x'" in to_dot(JOB)
    assert drawn.count("    }") == 1
