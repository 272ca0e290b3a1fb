"""What can be wrong with a machine before it ever runs; every check adds its problems to one list."""

from __future__ import annotations

from collections import Counter
from dataclasses import is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from astra_core.fsm.checks_guards import guard_problems, row_problems
from astra_core.fsm.checks_stays import stay_problems
from astra_core.fsm.names import event_name, state_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from astra_core.fsm.definition import Arrow, Machine

__all__ = ["problems_of"]

AnyMachine: TypeAlias = "Machine[Any, Any, Any]"
AnyArrow: TypeAlias = "Arrow[Any, Any]"


def problems_of(machine: AnyMachine) -> list[str]:
    """Return every problem of the machine, a line each; none when it may be used."""
    if not (isinstance(machine.states, type) and issubclass(machine.states, Enum) and len(machine.states)):
        return ["states is not an Enum with members"]
    checks: tuple[Callable[[AnyMachine], Iterator[str]], ...] = (
        _names,
        _events,
        _guards,
        _rows,
        _unreachable,
        _dead_ends,
        _traps,
        _deferred_for_ever,
        _ways_out_of_final,
        stay_problems,
    )
    return [problem for check in checks for problem in check(machine)]


def _arrows(machine: AnyMachine) -> Iterator[tuple[Any, AnyArrow]]:
    """Yield each transition once for each of its sources, those of unknown states left out."""
    for transition in machine.transitions:
        for source in transition.sources:
            if isinstance(source, machine.states) and isinstance(transition.target, machine.states):
                yield source, transition


def _names(machine: AnyMachine) -> Iterator[str]:
    if not machine.initials:
        yield "no initial state is given"
    places = [("initial state", state) for state in machine.initials]
    places += [("final state", state) for state in machine.final]
    for transition in machine.transitions:
        where = f"of a transition on {event_name(transition.event)}"
        if not transition.sources:
            yield f"a transition on {event_name(transition.event)} has no source"
        places += [(f"source {where}", source) for source in transition.sources]
        places.append((f"target {where}", transition.target))
    for place, state in places:
        if not isinstance(state, machine.states):
            yield f"{place} {state!r} is not a state of {machine.states.__name__}"


def _events(machine: AnyMachine) -> Iterator[str]:
    for event, times in Counter(machine.events).items():
        if times > 1:
            yield f"event {event_name(event)} is declared {times} times"
        if not (isinstance(event, type) and is_dataclass(event) and event.__dataclass_params__.frozen):  # type: ignore[attr-defined]
            yield f"event {event_name(event)} is not a frozen dataclass"
    used = {transition.event for transition in machine.transitions}
    for event in dict.fromkeys(machine.events):
        if event not in used:
            yield f"event {event_name(event)} is declared, but no transition takes it"
    for event in sorted(used - set(machine.events), key=event_name):
        yield f"event {event_name(event)} is taken, but not declared"


def _guards(machine: AnyMachine) -> Iterator[str]:
    return guard_problems(machine.transitions)


def _rows(machine: AnyMachine) -> Iterator[str]:
    rows: dict[tuple[Any, type[Any]], list[AnyArrow]] = {}
    for source, transition in _arrows(machine):
        rows.setdefault((source, transition.event), []).append(transition)
    for (source, event), row in rows.items():
        yield from row_problems(source, event, row)


def _reached(machine: AnyMachine, begin: Iterable[Any]) -> set[Any]:
    reached = {state for state in begin if isinstance(state, machine.states)}
    todo = list(reached)
    while todo:
        here = todo.pop()
        new = {transition.target for source, transition in _arrows(machine) if source is here} - reached
        reached |= new
        todo += new
    return reached


def _unreachable(machine: AnyMachine) -> Iterator[str]:
    reached = _reached(machine, machine.initials)
    for state in machine.states:
        if state not in reached:
            yield f"state {state_name(state)} cannot be reached"


def _dead_ends(machine: AnyMachine) -> Iterator[str]:
    left = {source for source, transition in _arrows(machine) if transition.target is not source}
    for state in machine.states:
        if state not in left and state not in machine.final:
            yield f"state {state_name(state)} is a dead end: it is not final, and no transition leaves it"


def _traps(machine: AnyMachine) -> Iterator[str]:
    """Yield states that are left, yet lead to no final state, in a machine that means to end."""
    left = {source for source, transition in _arrows(machine) if transition.target is not source}
    for state in machine.states:
        if machine.final and state in left and not _reached(machine, [state]).intersection(machine.final):
            yield f"state {state_name(state)} leads to no final state"


def _deferred_for_ever(machine: AnyMachine) -> Iterator[str]:
    """Yield events that are put off where no later state takes them."""
    if machine.unhandled != "defer":
        return
    takers: dict[Any, set[Any]] = {}
    for source, transition in _arrows(machine):
        takers.setdefault(transition.event, set()).add(source)
    for state in machine.states:
        reached = _reached(machine, [state])
        for event, taking in takers.items():
            if state not in machine.final and not reached & taking:
                yield f"state {state_name(state)} defers {event_name(event)} for ever: no later state takes it"


def _ways_out_of_final(machine: AnyMachine) -> Iterator[str]:
    if machine.leave_final:
        return
    for source, transition in _arrows(machine):
        if source in machine.final:
            yield f"final state {state_name(source)} is left on {event_name(transition.event)} (allow: leave_final)"
