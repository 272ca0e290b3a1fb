from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra_core.errors import DefinitionError
from astra_core.fsm import Guard, Machine, NonDeterminism, Question, Transition, predicate, transition


class Side(Enum):
    """Two states."""

    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True)
class Go:
    """An event."""


World = tuple[bool, bool, int]


@predicate
def wet(event: Go, world: World) -> bool:
    """A yes-or-no question."""
    return world[0]


@predicate
def cold(event: Go, world: World) -> bool:
    """Another."""
    return world[1]


def _number(event: Go, world: World) -> int:
    return world[2]


NUMBER = Question(_number)
ONE = NUMBER.case(1, name="one")
TWO = NUMBER.case(2, name="two")
SOME: Guard[Go, World] = predicate(_number)  # type: ignore[arg-type]


def build(*guards: Guard[Go, World] | None) -> Machine[Side, Go, World]:
    """Return a machine with one row of those guards."""
    arrows = [Transition(Side.LEFT, Go, Side.RIGHT, guard) for guard in guards]
    back: Transition[Side, Go, World] = Transition(Side.RIGHT, Go, Side.LEFT)
    return Machine(name="m", states=Side, events=(Go,), initial=Side.LEFT, transitions=(*arrows, back))


def problems(*guards: Guard[Go, World] | None) -> tuple[str, ...]:
    """Return what a row of those guards is refused for."""
    try:
        build(*guards)
    except DefinitionError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    ("guards", "expected"),
    [
        ((wet, ~wet), ()),
        ((wet & cold, wet & ~cold, ~wet), ()),
        ((ONE, TWO, ~(ONE | TWO)), ()),
        ((ONE, TWO, None), ()),
        ((SOME, ~SOME), ()),
        ((SOME, ONE), ("in left on Go: guards number and one can hold at once",)),
        ((~SOME, ONE, TWO, None), ()),
        ((wet, cold), ("in left on Go: guards wet and cold can hold at once",)),
        ((ONE, ~TWO), ("in left on Go: guards one and not two can hold at once",)),
        ((wet | cold, ~(wet & cold)), ("in left on Go: guards wet or cold and not (wet and cold) can hold at once",)),
        ((ONE & TWO,), ("in left on Go: guard one and two can never hold",)),
        (
            (wet, ~wet, None),
            ("in left on Go: one of the guards always holds, so the transition without a guard is never taken",),
        ),
    ],
)
def test_declared_guards_are_compared_when_the_machine_is_built(
    guards: tuple[Guard[Go, World] | None, ...], expected: tuple[str, ...]
) -> None:
    """Guards that overlap, never hold, or leave nothing to the else are refused; guards apart are not."""
    assert problems(*guards) == expected


@pytest.mark.parametrize("answer", [True, "x", "y", 0])
def test_a_question_asked_for_true_is_answered_by_true_alone(answer: object) -> None:
    """The proof compares answers, so the run does: another answer that Python takes for yes is another answer."""
    asked: Question[Go, World] = Question(lambda event, world: answer)
    machine = build(asked.case(True, name="yes"), asked.case("x", name="x"))
    assert transition(machine, Side.LEFT, Go(), (True, True, 1)).accepted is (answer in (True, "x"))


def _above(place: int, event: Go, world: World) -> bool:
    return world[2] > place


def test_too_many_questions_are_said_to_be_too_many() -> None:
    """A row that would take thousands of worlds to compare is refused instead of slowing every start."""
    asked = [predicate(functools.partial(_above, place)) for place in range(13)]
    every = functools.reduce(lambda one, other: one & other, asked)
    assert problems(every) == ("in left on Go: its guards ask more than 12 questions, too many to compare",)


GUARDS: st.SearchStrategy[Guard[Go, World]] = st.recursive(
    st.sampled_from([wet, cold, ONE, TWO, SOME]),
    lambda inner: st.one_of(
        inner.map(lambda guard: ~guard),
        st.builds(lambda one, other: one & other, inner, inner),
        st.builds(lambda one, other: one | other, inner, inner),
    ),
    max_leaves=5,
)
WORLDS = [(first, second, number) for first in (True, False) for second in (True, False) for number in (0, 1, 2, 3)]


@given(one=GUARDS, other=GUARDS)
def test_an_overlap_is_reported_exactly_when_some_world_shows_it(
    one: Guard[Go, World], other: Guard[Go, World]
) -> None:
    """The builder's proof agrees with calling the guards in every world there is; what it passes never conflicts."""
    if one == other:
        return
    overlap = any(one(Go(), world) and other(Go(), world) for world in WORLDS)
    found = problems(one, other)
    assert any("at once" in problem for problem in found) is overlap
    if not found:
        machine = build(one, other)
        for world in WORLDS:
            taken = transition(machine, Side.LEFT, Go(), world).accepted
            assert taken is bool(one(Go(), world) or other(Go(), world))


def test_plain_functions_are_still_watched_at_run_time() -> None:
    """What no one declared cannot be proven, so two plain guards that both hold raise when they do."""

    def always(event: Go, world: World) -> bool:
        return True

    def ever(event: Go, world: World) -> bool:
        return True

    arrows = (Transition(Side.LEFT, Go, Side.RIGHT, always), Transition(Side.LEFT, Go, Side.LEFT, ever))
    back: Transition[Side, Go, World] = Transition(Side.RIGHT, Go, Side.LEFT)
    machine = Machine(name="m", states=Side, events=(Go,), initial=Side.LEFT, transitions=(*arrows, back))
    with pytest.raises(NonDeterminism, match="always, ever"):
        transition(machine, Side.LEFT, Go(), (True, True, 1))
