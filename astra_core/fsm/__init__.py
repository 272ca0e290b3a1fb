"""State machines as typed data: a pure `transition()`, checks when built, diagrams. No I/O and no event loop."""

from astra_core.fsm.definition import Machine, Transition, Unhandled
from astra_core.fsm.diagrams import to_dot, to_mermaid
from astra_core.fsm.guards import Guard, Question, predicate
from astra_core.fsm.paths import Hop, hops, shortest_paths
from astra_core.fsm.replay import BrokenHistory, replay
from astra_core.fsm.stays import Timer, Within
from astra_core.fsm.step import Beginning, Decision, NonDeterminism, Outcome, UndeclaredEvent, begin, transition

__all__ = [
    "Beginning",
    "BrokenHistory",
    "Decision",
    "Guard",
    "Hop",
    "Machine",
    "NonDeterminism",
    "Outcome",
    "Question",
    "Timer",
    "Transition",
    "UndeclaredEvent",
    "Unhandled",
    "Within",
    "begin",
    "hops",
    "predicate",
    "replay",
    "shortest_paths",
    "to_dot",
    "to_mermaid",
    "transition",
]
