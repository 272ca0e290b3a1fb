from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra_core.fsm import Machine, NonDeterminism, Outcome, Transition, UndeclaredEvent, Unhandled, transition

if TYPE_CHECKING:
    from collections.abc import Callable


class Door(Enum):
    """The states of a door."""

    OPEN = 1
    SHUT = 2
    LOCKED = 3


class Do(Enum):
    """Effects of a door."""

    CREAK = "creak"


@dataclass(frozen=True)
class Push:
    """Open or shut it."""


@dataclass(frozen=True)
class Turn:
    """Turn a key."""

    key: str


@dataclass(frozen=True)
class Slam:
    """Is Push, but of another type."""


class HardPush(Push):
    """A subclass of a declared event."""


DoorEvent: TypeAlias = Push | Turn


def fits(event: Turn, lock: str) -> bool:
    """Whether the key turns."""
    return event.key == lock


def door(unhandled: Unhandled = Unhandled.REFUSE) -> Machine[Door, DoorEvent, str]:
    """Return a door under a policy."""
    return Machine(
        name="door",
        states=Door,
        events=(Push, Turn),
        initial=Door.OPEN,
        transitions=(
            Transition(Door.OPEN, Push, Door.SHUT, effects=(Do.CREAK,)),
            Transition(Door.SHUT, Push, Door.OPEN),
            Transition(Door.SHUT, Turn, Door.LOCKED, guard=fits),
            Transition(Door.LOCKED, Turn, Door.SHUT, guard=fits),
        ),
        unhandled=unhandled,
    )


def test_a_taken_transition_names_its_target_and_effects() -> None:
    """A decision holds source, target, event and effects, and says nothing about a refusal."""
    decision = transition(door(), Door.OPEN, Push(), "")
    assert decision.accepted
    assert (decision.source, decision.target, decision.event) == (Door.OPEN, Door.SHUT, Push())
    assert (decision.effects, decision.reason) == ((Do.CREAK,), "")


def test_a_guard_reads_the_event_and_the_context() -> None:
    """The same event in the same state is taken or refused by what its guard finds in both arguments."""
    assert transition(door(), Door.SHUT, Turn("a"), "a").target is Door.LOCKED
    refused = transition(door(), Door.SHUT, Turn("a"), "b")
    assert not refused.accepted
    assert refused.target is Door.SHUT
    assert refused.reason == "door is shut: Turn does not apply (needs: fits)"


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [
        (Unhandled.IGNORE, Outcome.IGNORED),
        (Unhandled.REFUSE, Outcome.REFUSED),
        (Unhandled.DEFER, Outcome.DEFERRED),
    ],
)
def test_the_policy_decides_what_becomes_of_an_unhandled_event(policy: Unhandled, outcome: Outcome) -> None:
    """Under every policy the state stays and no effect is named; the outcome tells the three apart."""
    decision = transition(door(policy), Door.LOCKED, Push(), "")
    assert decision.outcome is outcome
    assert (decision.accepted, decision.target, decision.effects) == (False, Door.LOCKED, ())
    assert decision.reason == "door is locked: Push does not apply"


@pytest.mark.parametrize("event", [Slam(), HardPush()])
def test_an_undeclared_event_raises_under_every_policy(event: Push | Slam) -> None:
    """The policy is for known events; another type, even a subclass of a known one, is a mistake in the program."""
    with pytest.raises(UndeclaredEvent, match="declares no event"):
        transition(door(Unhandled.IGNORE), Door.OPEN, event, "")  # type: ignore[misc]


def _machine(*guards: Callable[[Push, str], bool] | None) -> Machine[Door, Push, str]:
    targets = (Door.SHUT, Door.LOCKED, Door.OPEN)
    arrows = [Transition(Door.OPEN, Push, target, guard) for target, guard in zip(targets, guards, strict=True)]
    back: Transition[Door, Push, str] = Transition((Door.SHUT, Door.LOCKED), Push, Door.OPEN)
    return Machine(name="m", states=Door, events=(Push,), initial=Door.OPEN, transitions=(*arrows, back))


def _letter(letter: str) -> Callable[[Push, str], bool]:
    def holds(event: Push, context: str) -> bool:
        return letter in context

    holds.__name__ = f"has_{letter}"
    return holds


def test_two_guards_that_hold_at_once_raise() -> None:
    """A machine that does not say where to go is an error that names the guards, whatever their order."""
    machine = _machine(_letter("a"), _letter("b"), None)
    with pytest.raises(NonDeterminism, match="m in open on Push: guards hold at once: has a, has b"):
        transition(machine, Door.OPEN, Push(), "ba")


@given(context=st.text("abc", max_size=3), otherwise=st.booleans())
def test_the_choice_equals_that_of_a_plain_search(context: str, otherwise: bool) -> None:
    """For any truth of the guards, the outcome is what listing the guards that hold gives."""
    machine = _machine(_letter("a"), _letter("b"), None if otherwise else _letter("c"))
    letters = {"a": Door.SHUT, "b": Door.LOCKED} | ({} if otherwise else {"c": Door.OPEN})
    holding = [letters[letter] for letter in letters if letter in context]
    if len(holding) > 1:
        with pytest.raises(NonDeterminism):
            transition(machine, Door.OPEN, Push(), context)
        return
    decision = transition(machine, Door.OPEN, Push(), context)
    assert decision.accepted is bool(holding or otherwise)
    assert decision.target is (holding[0] if holding else Door.OPEN)


def test_a_machine_without_guards_needs_no_context() -> None:
    """`None` is the context by default."""
    machine: Machine[Door, Push, None] = Machine(
        name="m",
        states=Door,
        events=(Push,),
        initial=(Door.OPEN, Door.LOCKED),
        transitions=(Transition(Door.OPEN, Push, Door.SHUT), Transition((Door.SHUT, Door.LOCKED), Push, Door.OPEN)),
    )
    assert transition(machine, Door.OPEN, Push()).target is Door.SHUT
    assert repr(machine) == "Machine('m': 3 states, 1 events, 2 transitions)"


def test_machine_and_decision_cannot_be_changed() -> None:
    """Both are values: assigning to a field raises."""
    machine = door()
    decision = transition(machine, Door.OPEN, Push(), "")
    with pytest.raises(AttributeError):
        machine.name = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        decision.target = Door.LOCKED  # type: ignore[misc]
