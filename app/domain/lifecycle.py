"""The life of a link, whole: its states, what may happen in each, and where that leads.

People disable, enable and delete; time starts and expires; visits exhaust. Guards ask what is *due*: the state that
times and limits alone give the link now (`due_state`). So a timer that fires early, late or twice changes nothing
that the times do not say, and enabling leads to wherever the link would stand had it never been disabled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from msgspec.structs import replace

from app.domain.links import BaseState, LinkState, due_state, state_of
from astra_core.fsm import Machine, Question, Transition, transition

if TYPE_CHECKING:
    from app.domain.links import Link
    from astra_core.fsm import Decision

__all__ = ["LIFECYCLE", "Delete", "Disable", "Enable", "Exhaust", "Expire", "LinkEvent", "Start", "apply", "decide"]


@dataclass(frozen=True, slots=True)
class Start:
    """`starts_at` has come."""


@dataclass(frozen=True, slots=True)
class Expire:
    """`expires_at` has come."""


@dataclass(frozen=True, slots=True)
class Exhaust:
    """The last of `max_visits` was taken."""


@dataclass(frozen=True, slots=True)
class Disable:
    """Someone switches the link off."""


@dataclass(frozen=True, slots=True)
class Enable:
    """Someone switches the link on again."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Someone deletes the link, for good."""


LinkEvent: TypeAlias = Start | Expire | Exhaust | Disable | Enable | Delete


def due_now(event: LinkEvent, due: LinkState) -> LinkState:
    """Return the state that times and limits alone give the link: the question that every guard asks."""
    return due


SCHEDULED, ACTIVE, DISABLED, EXPIRED, EXHAUSTED, DELETED = LinkState

_DUE = Question(due_now)
should_wait = _DUE.case(SCHEDULED, name="should wait")
should_run = _DUE.case(ACTIVE, name="should run")
is_over = _DUE.case(EXPIRED, name="is over")
is_used_up = _DUE.case(EXHAUSTED, name="is used up")

LIFECYCLE: Machine[LinkState, LinkEvent, LinkState] = Machine(
    name="link",
    states=LinkState,
    events=(Start, Expire, Exhaust, Disable, Enable, Delete),
    initial=(SCHEDULED, ACTIVE),
    final=(DELETED,),
    transitions=(
        Transition(SCHEDULED, Start, ACTIVE, should_run),
        Transition((SCHEDULED, ACTIVE), Expire, EXPIRED, is_over),
        Transition(ACTIVE, Exhaust, EXHAUSTED, is_used_up),
        Transition((SCHEDULED, ACTIVE, EXPIRED, EXHAUSTED), Disable, DISABLED),
        Transition(DISABLED, Enable, SCHEDULED, should_wait),
        Transition(DISABLED, Enable, ACTIVE, should_run),
        Transition(DISABLED, Enable, EXPIRED, is_over),
        Transition(DISABLED, Enable, EXHAUSTED, is_used_up),
        Transition((SCHEDULED, ACTIVE, DISABLED, EXPIRED, EXHAUSTED), Delete, DELETED),
    ),
)

_BASES = {DISABLED: BaseState.DISABLED, DELETED: BaseState.DELETED}


def decide(link: Link, event: LinkEvent, *, now: int, remaining: int | None) -> Decision[LinkState, LinkEvent]:
    """Decide what `event` does to the link as it stands at `now`; pure."""
    return transition(LIFECYCLE, state_of(link, now, remaining), event, due_state(link, now, remaining))


def apply(link: Link, decision: Decision[LinkState, LinkEvent], *, now: int) -> Link:
    """Return the link to store after a decision; the same object when nothing of the record changes."""
    base = _BASES.get(decision.target, BaseState.ACTIVE)
    return link if base is link.base else replace(link, base=base, updated_at=now)
