"""State machines as typed data: a pure `transition()`, checks when built, diagrams. No I/O and no event loop."""

from astra_core.fsm.definition import Machine, Transition, Unhandled
from astra_core.fsm.diagrams import to_mermaid
from astra_core.fsm.step import Decision, NonDeterminism, Outcome, UndeclaredEvent, transition

__all__ = [
    "Decision",
    "Machine",
    "NonDeterminism",
    "Outcome",
    "Transition",
    "UndeclaredEvent",
    "Unhandled",
    "to_mermaid",
    "transition",
]
