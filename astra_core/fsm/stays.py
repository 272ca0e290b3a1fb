"""What belongs to being in a state, not to a transition: entry and exit effects, timers, and states that share them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Crossing", "Timer", "Within", "crossing"]

S = TypeVar("S", bound=Enum)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Timer(Generic[T]):
    """Sends `event` once the state was held for `after` seconds, or at the moment that `at` reads from the subject.

    The subject is what the runner stores beside the state. `at` returns seconds on the runner's clock, or None for no
    timer. A timer that fires late or twice sends an event like any other, so the machine decides what that means.
    """

    event: object
    after: float | None = None
    at: Callable[[T], float | None] | None = None
    by: str = "timer"
    """Who sends it, for histories: a time, or whatever else the record comes to."""

    @property
    def name(self) -> str:
        """The name it is set and cancelled by: that of its event."""
        return type(self.event).__name__

    def due(self, *, now: float, subject: T) -> float | None:
        """Return when it fires if it is set `now`, on the same clock."""
        if self.at is not None:
            return self.at(subject)
        return None if self.after is None else now + self.after


@dataclass(frozen=True, kw_only=True)
class Within(Generic[S]):
    """Entry and exit effects and timers of one state, or of several that form a composite state with a `name`.

    A composite is entered from outside only: moving between its states leaves its timers running. Composites nest or
    are disjoint. Exits run from the innermost outwards, entries from the outermost inwards.
    """

    states: S | tuple[S, ...]
    name: str = ""
    entry: tuple[object, ...] = ()
    exit: tuple[object, ...] = ()
    timers: tuple[Timer[Any], ...] = ()

    @property
    def members(self) -> tuple[S, ...]:
        """The states it spans, also when there is one."""
        return self.states if isinstance(self.states, tuple) else (self.states,)


class Crossing(NamedTuple):
    """What leaving one state and entering another brings about."""

    exit: tuple[object, ...] = ()
    entry: tuple[object, ...] = ()
    timers: tuple[Timer[Any], ...] = ()
    cancelled: tuple[str, ...] = ()


def crossing(stays: tuple[Within[S], ...], source: S | None, target: S) -> Crossing:
    """Return what the way from `source` (None: from before the beginning) to `target` crosses; a loop re-enters."""
    inwards = sorted(stays, key=lambda each: -len(each.members))
    loop = source is target
    left = [each for each in inwards if source in each.members and _crossed(each, target, loop)]
    entered = [each for each in inwards if target in each.members and _crossed(each, source, loop)]
    timers = _all(each.timers for each in entered)
    set_again = {timer.name for timer in timers}
    return Crossing(
        exit=_all(each.exit for each in reversed(left)),
        entry=_all(each.entry for each in entered),
        timers=timers,
        cancelled=tuple(timer.name for each in reversed(left) for timer in each.timers if timer.name not in set_again),
    )


def _crossed(stay: Within[Any], other_end: object, loop: bool) -> bool:
    return other_end not in stay.members or (loop and len(stay.members) == 1)


def _all(parts: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(item for part in parts for item in part)
