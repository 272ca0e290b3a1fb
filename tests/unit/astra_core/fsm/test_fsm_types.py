"""What mypy --strict must reject: an ignore that is no longer needed is an error, so each line proves its claim."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import pytest

from astra_core.fsm import Machine, Transition, UndeclaredEvent, transition


class Lamp(Enum):
    """Two states."""

    OFF = 0
    ON = 1


class Other(Enum):
    """A state of another machine."""

    X = 0


@dataclass(frozen=True)
class Press:
    """Carries data."""

    force: int


@dataclass(frozen=True)
class Cut:
    """Carries none."""


LampEvent: TypeAlias = Press | Cut


def _hard(event: Press, least: int) -> bool:
    return event.force >= least


def _never(event: Cut, least: int) -> bool:
    return least < 0


LAMP: Machine[Lamp, LampEvent, int] = Machine(
    name="lamp",
    states=Lamp,
    events=(Press, Cut),
    initial=Lamp.OFF,
    transitions=(
        Transition(Lamp.OFF, Press, Lamp.ON, guard=_hard),
        Transition(Lamp.ON, Cut, Lamp.OFF),
    ),
)


def test_mypy_rejects_foreign_states_events_contexts_and_guards() -> None:
    """Each wrong call needs its `type: ignore`, which mypy would report as unused if it accepted the call."""
    transition(LAMP, Other.X, Cut(), 1)  # type: ignore[misc]
    with pytest.raises(UndeclaredEvent):
        transition(LAMP, Lamp.ON, "cut", 1)  # type: ignore[misc]
    transition(LAMP, Lamp.ON, Cut())  # type: ignore[arg-type]
    transition(LAMP, Lamp.ON, Cut(), "1")  # type: ignore[misc]
    Transition(Lamp.OFF, Press, Lamp.ON, guard=_never)  # type: ignore[arg-type]
    Machine[Lamp, LampEvent, int](
        name="lamp",
        states=Lamp,
        events=(Press, Cut),
        initial=Lamp.OFF,
        transitions=(
            Transition(Lamp.OFF, Press, Lamp.ON, guard=_never),  # type: ignore[arg-type]
            Transition(Lamp.ON, Cut, Lamp.OFF),
        ),
    )
