"""One step of a machine: a pure look-up that decides, and does nothing."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from msgspec import Struct

from astra_core.errors import AstraError
from astra_core.fsm.definition import Unhandled
from astra_core.fsm.names import event_name, guard_name, state_name
from astra_core.fsm.stays import crossing

if TYPE_CHECKING:
    from astra_core.fsm.definition import Arrow, Machine
    from astra_core.fsm.stays import Timer

__all__ = ["Beginning", "Decision", "NonDeterminism", "Outcome", "UndeclaredEvent", "begin", "transition"]

S = TypeVar("S", bound=Enum)
E = TypeVar("E")
C = TypeVar("C")


class Outcome(StrEnum):
    """What became of an event."""

    TAKEN = "taken"
    IGNORED = "ignored"
    REFUSED = "refused"
    DEFERRED = "deferred"


_OUTCOMES = {
    Unhandled.IGNORE: Outcome.IGNORED,
    Unhandled.REFUSE: Outcome.REFUSED,
    Unhandled.DEFER: Outcome.DEFERRED,
}


class Decision(Struct, Generic[S, E], frozen=True):
    """What a machine decided: the state to store, timers to set and cancel with it, effects to carry out after.

    `effects` are those of the exit, of the transition and of the entry, in this order.

    When no transition was taken, `target` is `source`, `effects` is empty and `reason` says why in one line.
    A struct, because building a frozen dataclass of six fields alone costs over half a microsecond.
    """

    outcome: Outcome
    source: S
    target: S
    event: E
    effects: tuple[object, ...] = ()
    reason: str = ""
    timers: tuple[Timer[Any], ...] = ()
    """To set, each in place of one of the same name."""
    cancelled: tuple[str, ...] = ()
    """Names of timers to cancel."""
    transition: Arrow[S, Any] | None = None
    """The one that was taken."""

    @property
    def accepted(self) -> bool:
        """Whether a transition was taken (also one that leads back to its source)."""
        return self.outcome is Outcome.TAKEN


class NonDeterminism(AstraError):  # noqa: N818 - the field's term
    """Two guards held at once, so the machine does not say where to go: its definition is wrong."""

    def __init__(self, machine: str, state: Enum, event: object, guards: tuple[str, ...]) -> None:
        self.machine = machine
        self.state = state
        self.event = event
        self.guards = guards
        where = f"{state_name(state)} on {event_name(type(event))}"
        super().__init__(f"machine {machine} in {where}: guards hold at once: {', '.join(guards)}")


class UndeclaredEvent(AstraError, TypeError):  # noqa: N818 - says what it is
    """An event of a type that the machine does not declare; the unhandled policy is for declared events only."""

    def __init__(self, machine: str, event: object) -> None:
        self.machine = machine
        self.event = event
        super().__init__(f"machine {machine} declares no event {event_name(type(event))}")


@overload
def transition(machine: Machine[S, E, None], state: S, event: E) -> Decision[S, E]: ...
@overload
def transition(machine: Machine[S, E, C], state: S, event: E, context: C) -> Decision[S, E]: ...
def transition(machine: Machine[S, E, Any], state: S, event: E, context: Any = None) -> Decision[S, E]:
    """Decide what `event` does in `state`; pure, and about as cheap as the guards it asks.

    Every guard of the row is asked, so that two that hold at once are found: raises `NonDeterminism`. Raises
    `UndeclaredEvent` for an event the machine does not know.
    """
    branches = machine.table.get((state, type(event)))
    if branches is None:
        return _unhandled(machine, state, event)
    chosen = None
    for guard, candidate in branches.guarded:
        if guard(event, context):
            if chosen is not None:
                raise _conflict(machine, state, event, context)
            chosen = candidate
    if chosen is None:
        chosen = branches.otherwise
        if chosen is None:
            return _unhandled(machine, state, event)
    return Decision(
        Outcome.TAKEN, state, chosen.target, event, chosen.effects, "", chosen.timers, chosen.cancelled,
        chosen.transition,
    )  # fmt: skip


class Beginning(Struct, Generic[S], frozen=True):
    """What entering an initial state brings: effects to carry out and timers to set once it is stored."""

    state: S
    effects: tuple[object, ...]
    timers: tuple[Timer[Any], ...]


def begin(machine: Machine[S, Any, Any], state: S | None = None) -> Beginning[S]:
    """Return the beginning in `state`, or in the first initial state; raises ValueError if it is not initial."""
    first = machine.initials[0] if state is None else state
    if first not in machine.initials:
        raise ValueError(f"machine {machine.name} does not begin in {state_name(first)}")
    crossed = crossing(machine.within, None, first)
    return Beginning(first, crossed.entry, crossed.timers)


def _unhandled(machine: Machine[S, E, Any], state: S, event: E) -> Decision[S, E]:
    if type(event) not in machine.events:
        raise UndeclaredEvent(machine.name, event)
    reason = f"{machine.name} is {state_name(state)}: {event_name(type(event))} does not apply"
    if branches := machine.table.get((state, type(event))):
        reason += f" (needs: {', or '.join(guard_name(step.transition.guard) for _, step in branches.guarded)})"
    outcome = _OUTCOMES[machine.unhandled]
    if outcome is Outcome.DEFERRED and state in machine.final and not machine.leave_final:
        outcome = Outcome.REFUSED  # nothing later can take it
    return Decision(outcome, state, state, event, (), reason)


def _conflict(machine: Machine[S, E, C], state: S, event: E, context: C) -> NonDeterminism:
    guarded = machine.table[state, type(event)].guarded
    holding = tuple(guard_name(step.transition.guard) for guard, step in guarded if guard(event, context))
    return NonDeterminism(machine.name, state, event, holding)
