"""A history run again, from its entries alone: where it leads, and what the data became on the way."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct

from astra_core.errors import DefinitionError
from astra_core.fsm import BrokenHistory, transition
from astra_core.workflow.entries import NULL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astra_core.workflow.definition import Workflow
    from astra_core.workflow.entries import Entry

__all__ = ["Replayed", "replayed"]

S = TypeVar("S", bound=Enum)
D = TypeVar("D")


class Replayed(Struct, Generic[S, D], frozen=True):
    """Where a history leads. The data is None where the first entry does not say what it began with."""

    state: S
    data: D | None


def replayed(workflow: Workflow[S, Any, Any, D], entries: Iterable[Entry]) -> Replayed[S, D]:
    """Return what `entries`, from the first one on, lead to.

    Raises `BrokenHistory` at the first that the machine would not have taken there or that led elsewhere, and
    `DefinitionError` for one that names a state or an event that the machine no longer has.
    """
    every = iter(entries)
    first = next(every)
    state = _known(workflow, workflow.states, first.target)
    data = None if first.data == NULL else workflow.read_data(first.data)
    for place, entry in enumerate(every, 1):
        event = _known(workflow, workflow.events, entry.event)(entry.data)
        decision = transition(workflow.machine, state, event, workflow.read_context(entry.context))
        if not decision.accepted or decision.target is not _known(workflow, workflow.states, entry.target):
            raise BrokenHistory(workflow.machine.name, state, event, place)
        state = decision.target
        if data is not None:
            data = workflow.evolve(data, decision, entry.at / 1e6)
    return Replayed(state, data)


def _known(workflow: Workflow[Any, Any, Any, Any], table: Any, name: str) -> Any:
    try:
        return table[name]
    except KeyError:
        problem = f"a history holds {name!r}, which the machine no longer has"
        raise DefinitionError(f"workflow {workflow.name}", [problem]) from None
