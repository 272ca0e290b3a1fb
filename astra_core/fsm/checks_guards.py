"""What can be wrong with the guards of one row: arrows that nothing tells apart, and guards that overlap."""

from __future__ import annotations

import inspect
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any

from astra_core.fsm.guards import Guard, worlds
from astra_core.fsm.names import event_name, guard_name, state_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astra_core.fsm.definition import Arrow

__all__ = ["guard_problems", "row_problems"]

_MOST_QUESTIONS = 12
"""More would be thousands of worlds to look at each time the program starts."""


def guard_problems(transitions: tuple[Arrow[Any, Any], ...]) -> Iterator[str]:
    """Yield what is wrong with a guard wherever it stands."""
    guards: Iterator[object] = (each.guard for each in transitions if each.guard is not None)
    for guard in dict.fromkeys(guards):
        if not callable(guard):
            yield f"guard {guard!r} is not callable"
        elif isinstance(guard, Guard):
            yield from (
                f"guard {atom} asks an async function, whose answer is not awaited"
                for atom in guard.atoms()
                if inspect.iscoroutinefunction(atom.ask)
            )
        elif inspect.iscoroutinefunction(guard):
            yield f"guard {guard_name(guard)} is async, so it would always hold"


def row_problems(source: object, event: type[Any], row: list[Arrow[Any, Any]]) -> Iterator[str]:
    """Yield what is wrong with the transitions that share a source and an event."""
    where = f"in {state_name(source)} on {event_name(event)}"
    guards = [transition.guard for transition in row]
    if guards.count(None) > 1:
        yield f"{where}: {guards.count(None)} transitions without a guard"
    elif None in guards[:-1]:
        yield f"{where}: a transition without a guard stands before one with a guard"
    for guard, times in Counter(guard for guard in guards if guard is not None).items():
        if times > 1:
            yield f"{where}: guard {guard_name(guard)} stands on {times} transitions"
    declared = list(dict.fromkeys(guard for guard in guards if isinstance(guard, Guard)))
    for problem in _logic(declared, complete=len(declared) == len(guards) - 1 and guards[-1] is None):
        yield f"{where}: {problem}"


def _logic(guards: list[Guard[Any, Any]], *, complete: bool) -> Iterator[str]:
    """Yield guards that overlap, that never hold, and an else that is never reached (`complete`: there is one)."""
    if not guards:
        return
    if len({atom.ask for guard in guards for atom in guard.atoms()}) > _MOST_QUESTIONS:
        yield f"its guards ask more than {_MOST_QUESTIONS} questions, too many to compare"
        return
    held = [frozenset(guard for guard in guards if guard.holds(world)) for world in worlds(guards)]
    for guard in guards:
        if not any(guard in world for world in held):
            yield f"guard {guard} can never hold"
    for one, other in combinations(guards, 2):
        if any(one in world and other in world for world in held):
            yield f"guards {one} and {other} can hold at once"
    if complete and all(held):
        yield "one of the guards always holds, so the transition without a guard is never taken"
