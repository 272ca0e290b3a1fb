"""The words of a machine: transitions between the states of an enum, on events that are frozen dataclasses.

None of these classes has slots: a frozen generic one with slots cannot be called on Python 3.11 as
`Machine[S, E, C](…)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from astra_core.errors import DefinitionError
from astra_core.fsm.checks import problems_of
from astra_core.fsm.guards import compiled
from astra_core.fsm.stays import Timer, Within, crossing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Arrow", "Branches", "Machine", "Step", "Transition", "Unhandled"]

S = TypeVar("S", bound=Enum)
E = TypeVar("E")
C = TypeVar("C")


class Unhandled(StrEnum):
    """What a machine answers to an event that no transition takes."""

    IGNORE = "ignore"
    """It is nothing: the state stays."""
    REFUSE = "refuse"
    """It is a mistake of the sender: the state stays, and the sender is told why."""
    DEFER = "defer"
    """It came too early: the state stays, and the caller keeps the event for a later state."""


@dataclass(frozen=True)
class Arrow(Generic[S, C]):
    """A transition on whichever event: one tuple holds them all, and yet mypy checks each guard against its event."""

    source: S | tuple[S, ...]
    event: type[Any]
    target: S
    guard: Callable[[Any, C], bool] | None = None
    effects: tuple[object, ...] = ()

    @property
    def sources(self) -> tuple[S, ...]:
        """The states it leaves from, also when there is one."""
        return self.source if isinstance(self.source, tuple) else (self.source,)


@dataclass(frozen=True)
class Transition(Arrow[S, C], Generic[S, E, C]):
    """One arrow of the diagram, or one from each of several sources: source, event, target, guard, effects.

    `guard(event, context)` is a pure predicate. Of the transitions that share a source and an event, the guards
    exclude each other, and one without a guard, listed last, is taken when none of them holds. `effects` are values
    that the caller interprets once the state is stored; the machine never runs them.
    """

    event: type[E]
    guard: Callable[[E, C], bool] | None = None


@dataclass(frozen=True)
class Step(Generic[S, C]):
    """What taking a transition from one of its sources comes to, worked out when the machine is built."""

    transition: Arrow[S, C]
    target: S
    effects: tuple[object, ...]
    timers: tuple[Timer[Any], ...]
    cancelled: tuple[str, ...]


@dataclass(frozen=True)
class Branches(Generic[S, C]):
    """What may happen to one event in one state: at most one guard holds, and `otherwise` when none does."""

    guarded: tuple[tuple[Callable[[Any, C], bool], Step[S, C]], ...]
    otherwise: Step[S, C] | None


@dataclass(frozen=True, kw_only=True, repr=False)
class Machine(Generic[S, E, C]):
    """A machine as data: `S` its states, `E` the union of its events, `C` the context that its guards read.

    Building one checks it and raises `DefinitionError` naming every problem: unknown states and events, unreachable
    states, dead ends, states that lead to no final one, arrows that nothing tells apart, declared guards that overlap,
    ways out of a final state (unless `leave_final`), timers that no state hears, events that nothing handles or that
    are deferred for ever. An event is matched by its exact type, never by a base class.
    """

    name: str
    states: type[S]
    events: tuple[type[E], ...]
    initial: S | tuple[S, ...]
    transitions: tuple[Arrow[S, C], ...]
    final: tuple[S, ...] = ()
    unhandled: Unhandled = Unhandled.REFUSE
    leave_final: bool = False
    within: tuple[Within[S], ...] = ()
    table: Mapping[tuple[S, type[E]], Branches[S, C]] = field(init=False, compare=False)
    """Derived: what each event may do in each state."""

    def __post_init__(self) -> None:
        if problems := problems_of(self):
            raise DefinitionError(f"machine {self.name}", problems)
        object.__setattr__(self, "table", _table(self))

    @property
    def initials(self) -> tuple[S, ...]:
        """The states a machine may begin in, also when there is one."""
        return self.initial if isinstance(self.initial, tuple) else (self.initial,)

    def __repr__(self) -> str:
        return (
            f"Machine({self.name!r}: {len(self.states)} states, {len(self.events)} events, "
            f"{len(self.transitions)} transitions)"
        )


def _table(machine: Machine[S, Any, C]) -> dict[tuple[S, type[Any]], Branches[S, C]]:
    rows: dict[tuple[S, type[Any]], list[Step[S, C]]] = {}
    for each in machine.transitions:
        for source in each.sources:
            rows.setdefault((source, each.event), []).append(_step(machine, source, each))
    return {
        key: Branches(
            guarded=tuple((compiled(step.transition.guard), step) for step in row if step.transition.guard is not None),
            otherwise=next((step for step in row if step.transition.guard is None), None),
        )
        for key, row in rows.items()
    }


def _step(machine: Machine[S, Any, C], source: S, arrow: Arrow[S, C]) -> Step[S, C]:
    crossed = crossing(machine.within, source, arrow.target)
    effects = crossed.exit + arrow.effects + crossed.entry
    return Step(arrow, arrow.target, effects, crossed.timers, crossed.cancelled)
