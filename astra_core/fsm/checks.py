"""What can be wrong with a machine before it ever runs; every check adds its problems to one list."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from astra_core.fsm.names import event_name, guard_name, state_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        _ambiguities,
        _unreachable,
        _dead_ends,
        _ways_out_of_final,
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
    guards: Iterator[object] = (each.guard for each in machine.transitions if each.guard is not None)
    for guard in dict.fromkeys(guards):
        if not callable(guard):
            yield f"guard {guard!r} is not callable"
        elif inspect.iscoroutinefunction(guard):
            yield f"guard {guard_name(guard)} is async, so it would always hold"


def _ambiguities(machine: AnyMachine) -> Iterator[str]:
    rows: dict[tuple[Any, type[Any]], list[AnyArrow]] = {}
    for source, transition in _arrows(machine):
        rows.setdefault((source, transition.event), []).append(transition)
    for (source, event), row in rows.items():
        where = f"in {state_name(source)} on {event_name(event)}"
        guards = [transition.guard for transition in row]
        if guards.count(None) > 1:
            yield f"{where}: {guards.count(None)} transitions without a guard"
        elif None in guards[:-1]:
            yield f"{where}: a transition without a guard stands before one with a guard"
        for guard, times in Counter(guard for guard in guards if guard is not None).items():
            if times > 1:
                yield f"{where}: guard {guard_name(guard)} stands on {times} transitions"


def _unreachable(machine: AnyMachine) -> Iterator[str]:
    reached = {state for state in machine.initials if isinstance(state, machine.states)}
    todo = list(reached)
    while todo:
        here = todo.pop()
        new = {transition.target for source, transition in _arrows(machine) if source is here} - reached
        reached |= new
        todo += new
    for state in machine.states:
        if state not in reached:
            yield f"state {state_name(state)} cannot be reached"


def _dead_ends(machine: AnyMachine) -> Iterator[str]:
    left = {source for source, transition in _arrows(machine) if transition.target is not source}
    for state in machine.states:
        if state not in left and state not in machine.final:
            yield f"state {state_name(state)} is a dead end: it is not final, and no transition leaves it"


def _ways_out_of_final(machine: AnyMachine) -> Iterator[str]:
    if machine.leave_final:
        return
    for source, transition in _arrows(machine):
        if source in machine.final:
            yield f"final state {state_name(source)} is left on {event_name(transition.event)} (allow: leave_final)"
