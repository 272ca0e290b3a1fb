from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.errors import DefinitionError
from astra_core.fsm import Machine, Question, Transition, predicate

if TYPE_CHECKING:
    from astra_core.fsm.definition import Arrow


class Light(Enum):
    """Three states."""

    RED = "red"
    GREEN = "green"
    DARK = "dark"


class Elsewhere(Enum):
    """A state of another machine."""

    RED = "red"


@dataclass(frozen=True)
class Go:
    """An event."""


@dataclass(frozen=True)
class Halt:
    """Another event."""


@dataclass
class Mutable:
    """No event, for it is not frozen."""


def day(event: object, context: None) -> bool:
    """A guard."""
    return True


async def late(event: object, context: None) -> bool:
    """No guard, for its coroutine is always true."""
    return False


LATE: Any = late
TEXT: Any = "day"
ASYNC = "asks an async function, whose answer is not awaited"


RED, GREEN, DARK = Light
CYCLE: tuple[Arrow[Light, None], ...] = (Transition(RED, Go, GREEN), Transition(GREEN, Halt, RED))


def problems(*transitions: Arrow[Any, Any], **changes: Any) -> tuple[str, ...]:
    """Return what a machine made of the cycle, further transitions and changed fields is refused for."""
    fields: dict[str, Any] = {
        "name": "light",
        "states": Light,
        "events": (Go, Halt),
        "initial": RED,
        "final": (DARK,),
        "transitions": (*CYCLE, Transition(GREEN, Go, DARK), *transitions),
    }
    try:
        Machine(**(fields | changes))
    except DefinitionError as error:
        return error.problems
    return ()


def test_a_sound_machine_is_built() -> None:
    """The machine that the other tests spoil has no problem itself."""
    assert problems() == ()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (problems(states=str), "states is not an Enum with members"),
        (problems(initial=()), "no initial state is given"),
        (problems(initial="red"), "initial state 'red' is not a state of Light"),
        (problems(final=(DARK, Elsewhere.RED)), "final state <Elsewhere.RED: 'red'> is not a state of Light"),
        (problems(Transition("red", Halt, DARK)), "source of a transition on Halt 'red' is not a state of Light"),
        (problems(Transition(RED, Halt, 7)), "target of a transition on Halt 7 is not a state of Light"),
        (problems(Transition((), Halt, RED)), "a transition on Halt has no source"),
        (problems(events=(Go, Halt, Go)), "event Go is declared 2 times"),
        (problems(events=(Go,)), "event Halt is taken, but not declared"),
        (problems(events=(Go, Halt, Mutable)), "event Mutable is not a frozen dataclass"),
        (problems(events=(Go, Halt, Mutable)), "event Mutable is declared, but no transition takes it"),
        (problems(Transition(RED, Halt, DARK, LATE)), "guard late is async, so it would always hold"),
        (problems(Transition(RED, Halt, DARK, predicate(LATE))), f"guard late {ASYNC}"),
        (
            problems(Transition(RED, Halt, DARK, predicate(day) & ~Question(LATE).case(1, name="one"))),
            f"guard one {ASYNC}",
        ),
        (problems(Transition(RED, Halt, DARK, TEXT)), "guard 'day' is not callable"),
        (problems(Transition(RED, Go, DARK)), "in red on Go: 2 transitions without a guard"),
        (
            problems(Transition(RED, Go, DARK, day)),
            "in red on Go: a transition without a guard stands before one with a guard",
        ),
        (
            problems(Transition(RED, Halt, DARK, day), Transition(RED, Halt, RED, day)),
            "in red on Halt: guard day stands on 2 transitions",
        ),
        (problems(transitions=CYCLE), "state dark cannot be reached"),
        (problems(final=()), "state dark is a dead end: it is not final, and no transition leaves it"),
        (problems(Transition(DARK, Go, RED)), "final state dark is left on Go (allow: leave_final)"),
    ],
)
def test_each_mistake_is_named(found: tuple[str, ...], expected: str) -> None:
    """A spoiled machine is refused with a line that says what is wrong and where."""
    assert expected in found


def test_a_state_that_only_leads_to_itself_is_a_dead_end() -> None:
    """A loop is no way out."""
    assert problems(Transition(DARK, Halt, DARK), final=()) == (
        "state dark is a dead end: it is not final, and no transition leaves it",
    )


def test_a_final_state_may_be_left_when_that_is_allowed() -> None:
    """`leave_final` lets an undelete out of a final state."""
    assert problems(Transition(DARK, Go, RED), leave_final=True) == ()


def test_an_unguarded_transition_listed_last_is_the_else() -> None:
    """Guarded first, unguarded last can be told apart; so it is no problem."""
    assert problems(Transition(RED, Halt, DARK, day), Transition(RED, Halt, RED)) == ()


def test_all_problems_are_listed_at_once() -> None:
    """One error holds every mistake, so that a definition is mended in one go."""
    found = problems(Transition(RED, Go, DARK), events=(Go, Halt, Halt), initial=("x", RED), final=())
    assert len(found) == 4
    with pytest.raises(DefinitionError, match=r"machine light: no initial .*; .* cannot be reached"):
        Machine(name="light", states=Light, events=(Go, Halt), initial=(), transitions=CYCLE)
