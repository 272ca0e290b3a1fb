"""A history run again: what state its events lead to, and what was decided on the way."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, overload

from astra_core.errors import AstraError
from astra_core.fsm.names import event_name, state_name
from astra_core.fsm.step import transition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astra_core.fsm.definition import Machine

__all__ = ["BrokenHistory", "replay"]

S = TypeVar("S", bound=Enum)
E = TypeVar("E")
C = TypeVar("C")


class BrokenHistory(AstraError):  # noqa: N818 - says what it is
    """A history holds an event that its machine would not have taken there; `place` counts from 0."""

    def __init__(self, machine: str, state: Enum, event: object, place: int) -> None:
        self.machine = machine
        self.state = state
        self.event = event
        self.place = place
        where = f"event {place}, {event_name(type(event))}, was never taken in {state_name(state)}"
        super().__init__(f"history of machine {machine}: {where}")


@overload
def replay(machine: Machine[S, E, None], initial: S, events: Iterable[E]) -> S: ...
@overload
def replay(machine: Machine[S, E, C], initial: S, events: Iterable[E], contexts: Iterable[C]) -> S: ...
def replay(machine: Machine[S, E, Any], initial: S, events: Iterable[E], contexts: Iterable[Any] | None = None) -> S:
    """Return the state that `events`, each taken with the context of its place, lead to from `initial`.

    A history holds taken events only: raises `BrokenHistory` at the first that is not. Raises ValueError when there
    are not as many contexts as events.
    """
    state = initial
    history = ((event, None) for event in events) if contexts is None else zip(events, contexts, strict=True)
    for place, (event, context) in enumerate(history):
        decision = transition(machine, state, event, context)
        if not decision.accepted:
            raise BrokenHistory(machine.name, state, event, place)
        state = decision.target
    return state
