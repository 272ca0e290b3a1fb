"""The life of a link, whole: its states, what may happen in each, where that leads, and what the record is then.

People edit, disable, enable, delete and restore; time starts and expires; visits exhaust. Guards ask what is *due*: the
state that times and limits alone give the link now (`due_state`). So a timer that fires early, late or twice changes
nothing that the times do not say, and enabling leads to wherever the link would stand had it never been disabled.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as with_fields
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from app.domain.links import BaseState, Link, LinkState, due_state
from astra_core.fsm import Machine, Question, Timer, Transition, Within
from astra_core.workflow import Workflow

if TYPE_CHECKING:
    from astra_core.fsm import Decision

__all__ = [
    "ANONYMOUS",
    "LIFE",
    "LIFECYCLE",
    "LIMIT",
    "Delete",
    "Disable",
    "Edit",
    "Enable",
    "Exhaust",
    "Expire",
    "LinkEvent",
    "Restore",
    "Standing",
    "Start",
    "apply",
    "balance_after",
]

ANONYMOUS, LIMIT = "anonymous", "limit"
"""Who makes a change: whoever calls, until callers have names, and `max_visits`."""
_SECOND = 1_000_000
"""Links count microseconds, timers seconds."""


@dataclass(frozen=True, slots=True)
class Start:
    """`starts_at` has come."""


@dataclass(frozen=True, slots=True)
class Expire:
    """`expires_at` has come."""


@dataclass(frozen=True, slots=True)
class Exhaust:
    """The last of `max_visits` was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Someone changes `members`, times and limits among them, which makes another state `due`."""

    due: LinkState
    members: tuple[str, ...] = ()
    link: Link | None = None
    """What the link becomes. It is told to nobody: a URL may hold a password, and the record has it."""


@dataclass(frozen=True, slots=True)
class Disable:
    """Someone switches the link off."""


@dataclass(frozen=True, slots=True)
class Enable:
    """Someone switches the link on again."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Someone deletes the link; its code stays its own."""


@dataclass(frozen=True, slots=True)
class Restore:
    """Someone takes the deletion back."""


LinkEvent: TypeAlias = Start | Expire | Exhaust | Edit | Disable | Enable | Delete | Restore


class Standing(Struct, frozen=True):
    """A link and what is kept beside its record, as of a moment: all that decides about it but the time."""

    link: Link
    edition: int
    """Its version as callers know it."""
    balance: int
    """The visits left; means something only while there is a limit."""
    at: int

    @property
    def remaining(self) -> int | None:
        """The visits left, None without a limit."""
        return None if self.link.max_visits is None else self.balance


def due_now(event: LinkEvent, due: LinkState) -> LinkState:
    """Return the state that times and limits alone give the link: the question that every guard asks."""
    return due


def due_then(event: Edit, due: LinkState) -> LinkState:
    """Return the same of the link as it is once it was edited."""
    return event.due


def the_start(standing: Standing) -> float | None:
    """Return when it starts, in seconds."""
    starts_at = standing.link.starts_at
    return None if starts_at is None else starts_at / _SECOND


def the_end(standing: Standing) -> float | None:
    """Return when it expires, in seconds."""
    expires_at = standing.link.expires_at
    return None if expires_at is None else expires_at / _SECOND


def the_last_visit(standing: Standing) -> float | None:
    """Return when it was seen that no visit is left, in seconds."""
    left = standing.remaining
    return None if left is None or left > 0 else standing.at / _SECOND


SCHEDULED, ACTIVE, DISABLED, EXPIRED, EXHAUSTED, DELETED = LinkState
LIVE = (SCHEDULED, ACTIVE, EXPIRED, EXHAUSTED)
"""What times and limits choose between."""

_DUE, _THEN = Question(due_now), Question(due_then)
should_wait = _DUE.case(SCHEDULED, name="should wait")
should_run = _DUE.case(ACTIVE, name="should run")
is_over = _DUE.case(EXPIRED, name="is over")
is_used_up = _DUE.case(EXHAUSTED, name="is used up")
then_waits = _THEN.case(SCHEDULED, name="then waits")
then_runs = _THEN.case(ACTIVE, name="then runs")
then_over = _THEN.case(EXPIRED, name="then over")
then_used_up = _THEN.case(EXHAUSTED, name="then used up")

starts, expires = Timer(event=Start(), at=the_start), Timer(event=Expire(), at=the_end)
runs_out = Timer(event=Exhaust(), at=the_last_visit, by=LIMIT)
"""No clock, but the same to whoever looks: it is due once the visits are used up."""

LIFECYCLE: Machine[LinkState, LinkEvent, LinkState] = Machine(
    name="link",
    states=LinkState,
    events=(Start, Expire, Exhaust, Edit, Disable, Enable, Delete, Restore),
    initial=(SCHEDULED, ACTIVE),
    final=(DELETED,),
    leave_final=True,
    transitions=(
        Transition(SCHEDULED, Start, ACTIVE, should_run | is_used_up),
        Transition((SCHEDULED, ACTIVE), Expire, EXPIRED, is_over),
        Transition((SCHEDULED, ACTIVE, EXPIRED), Exhaust, EXHAUSTED, is_used_up),
        Transition(LIVE, Edit, SCHEDULED, then_waits),
        Transition(LIVE, Edit, ACTIVE, then_runs),
        Transition(LIVE, Edit, EXPIRED, then_over),
        Transition(LIVE, Edit, EXHAUSTED, then_used_up),
        Transition(DISABLED, Edit, DISABLED),
        Transition(LIVE, Disable, DISABLED),
        Transition(DISABLED, Enable, SCHEDULED, should_wait),
        Transition(DISABLED, Enable, ACTIVE, should_run),
        Transition(DISABLED, Enable, EXPIRED, is_over),
        Transition(DISABLED, Enable, EXHAUSTED, is_used_up),
        Transition((*LIVE, DISABLED), Delete, DELETED),
        Transition(DELETED, Restore, SCHEDULED, should_wait),
        Transition(DELETED, Restore, ACTIVE, should_run),
        Transition(DELETED, Restore, EXPIRED, is_over),
        Transition(DELETED, Restore, EXHAUSTED, is_used_up),
    ),
    within=(
        Within(states=SCHEDULED, timers=(starts, expires, runs_out)),
        Within(states=ACTIVE, timers=(expires, runs_out)),
        Within(states=EXPIRED, timers=(runs_out,)),
    ),
)

_BASES = {DISABLED: BaseState.DISABLED, DELETED: BaseState.DELETED}


def apply(link: Link, decision: Decision[LinkState, LinkEvent], *, now: int) -> Link:
    """Return the link to store after a decision; the same object when nothing of the record changes."""
    if isinstance(decision.event, Edit) and decision.accepted:
        return replace(decision.event.link or link, updated_at=now)
    base = _BASES.get(decision.target, BaseState.ACTIVE)
    return link if base is link.base else replace(link, base=base, updated_at=now)


def _due(standing: Standing, now: float) -> LinkState:
    return due_state(standing.link, round(now * _SECOND), standing.remaining)


def _after(standing: Standing, decision: Decision[LinkState, LinkEvent], now: float) -> Standing:
    link = apply(standing.link, decision, now=round(now * _SECOND))
    edition = standing.edition + (link is not standing.link)
    return Standing(link, edition, balance_after(standing, link), standing.at)


def balance_after(before: Standing, link: Link) -> int:
    """Return the balance once the link has become `link`: a changed limit adds the difference, a new one is whole."""
    was, wanted = before.link.max_visits, link.max_visits
    if wanted is None or wanted == was:
        return before.balance
    return wanted if was is None else before.balance + wanted - was


def _told(event: LinkEvent) -> LinkEvent:
    return with_fields(event, link=None) if isinstance(event, Edit) else event


LIFE: Workflow[LinkState, LinkEvent, LinkState, Standing] = Workflow(
    machine=LIFECYCLE, data=Standing, reads=LinkState, context=_due, evolve=_after, told=_told
)
"""How lives are kept: see `app.links.keeper`."""
