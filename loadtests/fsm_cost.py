"""What one step of a machine costs, in microseconds, against a bare dict look-up of the next state in the same run.

Prints JSON: each figure is the best of several rounds, since everything else on a machine only ever adds time.

Bar: a guarded transition <= 1 us.
"""

from __future__ import annotations

import json
import timeit
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from astra_core.fsm import Machine, Question, Timer, Transition, Within, predicate, transition

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

_CALLS = 50_000
_ROUNDS = 9
_MICROSECONDS = 1e6


class Door(Enum):
    """Two states."""

    OPEN = "open"
    SHUT = "shut"


@dataclass(frozen=True, slots=True)
class Push:
    """An event with something to guard by."""

    force: int = 5


def is_hard(event: Push, least: int) -> bool:
    """A plain guard."""
    return event.force > least


def is_soft(event: Push, least: int) -> bool:
    """The other one."""
    return event.force <= least


def _door(*first: Transition[Door, Push, int], within: tuple[Within[Door], ...] = ()) -> Machine[Door, Push, int]:
    back: Transition[Door, Push, int] = Transition(Door.SHUT, Push, Door.OPEN)
    return Machine(
        name="door", states=Door, events=(Push,), initial=Door.OPEN, transitions=(*first, back), within=within
    )


_HARD = predicate(is_hard)
_FORCE: Question[Push, int] = Question(lambda event, _: event.force)
MACHINES = {
    "unguarded": _door(Transition(Door.OPEN, Push, Door.SHUT)),
    "guarded": _door(Transition(Door.OPEN, Push, Door.SHUT, is_hard)),
    "two plain guards": _door(
        Transition(Door.OPEN, Push, Door.SHUT, is_hard), Transition(Door.OPEN, Push, Door.OPEN, is_soft)
    ),
    "two declared guards": _door(
        Transition(Door.OPEN, Push, Door.SHUT, _HARD), Transition(Door.OPEN, Push, Door.OPEN, ~_HARD)
    ),
    "four cases of a question": _door(
        *(Transition(Door.OPEN, Push, Door.SHUT, _FORCE.case(force, name=str(force))) for force in (2, 3, 4, 5))
    ),
    "guarded, with entry, exit and a timer": _door(
        Transition(Door.OPEN, Push, Door.SHUT, is_hard),
        within=(
            Within(states=Door.OPEN, exit=("creak",)),
            Within(states=Door.SHUT, entry=("click",), timers=(Timer(event=Push(), after=5.0),)),
        ),
    ),
}


def main() -> None:
    """Measure every machine and print the figures."""
    event = Push()
    table = {(Door.OPEN, Push): Door.SHUT}
    figures = {"dict look-up": _best(lambda: table[Door.OPEN, type(event)])}
    for name, machine in MACHINES.items():
        figures[name] = _best(lambda machine=machine: transition(machine, Door.OPEN, event, 3))  # type: ignore[misc]
    print(json.dumps({name: round(figure, 3) for name, figure in figures.items()}, indent=2))


def _best(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=_CALLS, repeat=_ROUNDS)) / _CALLS * _MICROSECONDS


if __name__ == "__main__":
    main()
