"""One instance's course through its machine, pure: what an occurrence makes of what is kept, and what to tell of it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from astra_core.fsm import Decision, Outcome, begin, transition
from astra_core.fsm.names import event_name, state_name
from astra_core.workflow.entries import BEGIN, NULL, Entry, Kept, Occurrence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astra_core.fsm import Timer
    from astra_core.workflow.definition import Workflow

__all__ = ["Fired", "Step", "advance", "beginning"]

S = TypeVar("S", bound=Enum)
E = TypeVar("E")
C = TypeVar("C")
D = TypeVar("D")

_FIRED = 100
"""Timers that fire in one step at most; those of a definition that sets each other for the past must end somewhere."""
_encode = msgspec.json.Encoder().encode


class Fired(NamedTuple):
    """A timer that fired, when it was due, in microseconds, and what the machine answered."""

    name: str
    due: int
    outcome: Outcome


class Step(Struct, Generic[S, E, D], frozen=True):
    """What came of an occurrence: the instance as it stands after, entries for its history, effects, the decision.

    Effects stand by the place of the entry that they belong to. The decision is None where none was asked for.
    """

    kept: Kept[S, D]
    entries: tuple[Entry, ...]
    effects: tuple[tuple[int, object], ...]
    fired: tuple[Fired, ...]
    decision: Decision[S, E] | None

    @property
    def is_heard(self) -> bool:
        """Whether the event, if there was one, was taken or waits for a later state."""
        return self.decision is None or self.decision.outcome in {Outcome.TAKEN, Outcome.DEFERRED}


def beginning(
    workflow: Workflow[S, E, C, D], data: D, state: S | None, *, event_id: str, by: str, why: str, now: int
) -> Step[S, E, D]:
    """Return a new instance in `state`, or in the first initial one."""
    first = begin(workflow.machine, state)
    entry = Entry(
        id=event_id, event=BEGIN, at=now, target=state_name(first.state), by=by, why=why, data=Raw(_encode(data))
    )
    timers = _timers({}, first.timers, (), data, now, None)
    kept = Kept[S, D](state=first.state, data=data, timers=timers)
    return Step(kept, (entry,), tuple((0, effect) for effect in first.effects), (), None)


def advance(
    workflow: Workflow[S, E, C, D], kept: Kept[S, D], occurrence: Occurrence | None, *, now: int
) -> Step[S, E, D]:
    """Return what `occurrence`, or time alone, makes of an instance.

    Timers that are due come first, in the order of their due times, and each is decided as of the moment that it was
    due: what an event meets does not depend on how soon somebody looked at the timers. After a change of state the
    deferred events are offered again, oldest first.
    """
    course = _Course(workflow, kept, now)
    course.fire()
    decision = None if occurrence is None else course.offer(occurrence, now)
    return Step(course.kept, tuple(course.entries), tuple(course.effects), tuple(course.fired), decision)


class _Course(Generic[S, E, C, D]):
    """The steps of one `advance`."""

    def __init__(self, workflow: Workflow[S, E, C, D], kept: Kept[S, D], now: int) -> None:
        self.workflow = workflow
        self.kept = kept
        self.now = now
        self.entries: list[Entry] = []
        self.effects: list[tuple[int, object]] = []
        self.fired: list[Fired] = []

    def fire(self) -> None:
        """Send the events of timers that are due."""
        for _ in range(_FIRED):
            due = min(((at, name) for name, at in self.kept.timers.items() if at <= self.now), default=None)
            if due is None:
                return
            at, name = due
            left = {other: time for other, time in self.kept.timers.items() if other != name}
            self.kept = replace(self.kept, timers=left)
            timer = _timer(self.workflow, self.kept.state, name)
            if timer is not None:
                decision = self.offer(Occurrence(timer.event, f"{name}@{at}", timer.by), at, due)
                self.fired.append(Fired(name, at, decision.outcome))

    def offer(self, occurrence: Occurrence, at: int, due: tuple[int, str] | None = None) -> Decision[S, E]:
        """Let an event happen at a moment, and then those that waited for what it brought about."""
        decision = self._take(occurrence, at, due)
        if decision.outcome is Outcome.DEFERRED:
            decision = self._defer(occurrence, decision)
        moved = decision.accepted and decision.target is not decision.source
        while moved and self.kept.deferred:
            moved = self._offer_deferred(at)
        return decision

    def _offer_deferred(self, at: int) -> bool:
        """Offer what waits, oldest first, until one no longer has to; returns whether one did not."""
        for place, waiting in enumerate(self.kept.deferred):
            if self._take(waiting, at, None).outcome is not Outcome.DEFERRED:
                rest = self.kept.deferred[:place] + self.kept.deferred[place + 1 :]
                self.kept = replace(self.kept, deferred=rest)
                return True
        return False

    def _defer(self, occurrence: Occurrence, decision: Decision[S, E]) -> Decision[S, E]:
        most = self.workflow.deferred
        if len(self.kept.deferred) < most:
            self.kept = replace(self.kept, deferred=(*self.kept.deferred, occurrence))
            return decision
        reason = f"{decision.reason}, and {most} events wait for a later state already"
        return Decision(Outcome.REFUSED, decision.source, decision.target, decision.event, (), reason)

    def _take(self, occurrence: Occurrence, at: int, due: tuple[int, str] | None) -> Decision[S, E]:
        workflow, kept, seconds = self.workflow, self.kept, at / 1e6
        context = workflow.context(kept.data, seconds)
        decision = transition(workflow.machine, kept.state, occurrence.event, context)
        if not decision.accepted:
            return decision
        data = workflow.evolve(kept.data, decision, seconds)
        timers = kept.timers
        if decision.timers or decision.cancelled:
            timers = _timers(timers, decision.timers, decision.cancelled, data, self.now, due)
        self.kept = Kept(state=decision.target, data=data, timers=timers, deferred=kept.deferred)
        self.effects += [(len(self.entries), effect) for effect in decision.effects]
        self.entries.append(_entry(occurrence, decision, context, at, workflow.told(occurrence.event)))
        return decision


def _entry(occurrence: Occurrence, decision: Decision[Any, Any], context: object, at: int, told: object) -> Entry:
    return Entry(
        id=occurrence.id,
        event=event_name(type(occurrence.event)),
        at=at,
        source=state_name(decision.source),
        target=state_name(decision.target),
        by=occurrence.by,
        why=occurrence.why,
        data=Raw(_encode(told)),
        context=NULL if context is None else Raw(_encode(context)),
    )


def _timer(workflow: Workflow[Any, Any, Any, Any], state: Enum, name: str) -> Timer[Any] | None:
    """Return the timer of that name that belongs to `state`; an older definition may have had one that is gone."""
    for within in workflow.machine.within:
        if state in within.members:
            for timer in within.timers:
                if timer.name == name:
                    return timer
    return None


def _timers(
    timers: Mapping[str, int],
    added: tuple[Timer[Any], ...],
    cancelled: tuple[str, ...],
    data: object,
    now: int,
    fired: tuple[int, str] | None,
) -> dict[str, int]:
    """Return the timers after a step. One that fires does not set itself for that same moment again, or earlier.

    What counts from when it is set counts from `now`, however late the timer that set it fired: after a day of standing
    still, one that sets itself every second fires once, not 86,400 times.
    """
    left = {name: at for name, at in timers.items() if name not in cancelled}
    for timer in added:
        seconds = timer.due(now=now / 1e6, subject=data)
        left.pop(timer.name, None)
        if seconds is not None:
            due = round(seconds * 1e6)
            if fired is None or timer.name != fired[1] or due > fired[0]:
                left[timer.name] = due
    return left
