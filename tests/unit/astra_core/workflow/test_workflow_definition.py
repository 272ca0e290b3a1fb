"""What a workflow refuses to be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from astra_core.errors import DefinitionError
from astra_core.fsm import Machine, Transition
from astra_core.workflow import Workflow


class Light(Enum):
    """Two states."""

    OFF = "off"
    ON = "on"


@dataclass(frozen=True)
class Press:
    """The switch."""


@dataclass(frozen=True)
class Release:
    """Nothing that a stored object tells from the other."""


def light(*effects: object) -> Machine[Light, Press, Any]:
    """Return a machine with effects."""
    return Machine(
        name="light",
        states=Light,
        events=(Press,),
        initial=Light.OFF,
        transitions=(Transition(Light.OFF, Press, Light.ON, effects=effects), Transition(Light.ON, Press, Light.OFF)),
    )


def test_names_come_from_the_machine() -> None:
    """Collection, stream and topic are called like the machine unless told otherwise."""
    plain = Workflow(machine=light(), data=dict)
    assert (plain.name, plain.topic, plain.announce) == ("light", "light", "")
    assert [collection.name for collection in plain.collections] == ["light", "light_seen"]
    named = Workflow(machine=light(), data=dict, name="lamps", topic="bulbs")
    assert (named.name, named.topic, named.seen.name) == ("lamps", "bulbs", "lamps_seen")


def test_every_problem_is_named() -> None:
    """A name that is none, an effect that cannot be a message and a context without a type are listed together."""
    with pytest.raises(DefinitionError) as caught:
        Workflow(machine=light(print), data=dict, name="No Name", context=lambda data, now: 1)
    assert "its context has no type: name it in reads" in caught.value.problems
    assert "the effect print cannot be a message" in caught.value.problems
    assert any("'No Name' is no lower-case identifier" in problem for problem in caught.value.problems)


def test_types_that_cannot_be_read_back_are_refused() -> None:
    """A union that nothing tells apart is found when the workflow is built, not when a history is replayed."""
    with pytest.raises(DefinitionError, match="more than one dataclass"):
        Workflow(machine=light(), data=dict, reads=Press | Release)
