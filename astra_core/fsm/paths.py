"""The ways through a machine: every hop it can make, and the shortest way to each, so that tests can make them all."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from astra_core.fsm.definition import Arrow, Machine

__all__ = ["Hop", "hops", "shortest_paths"]

S = TypeVar("S", bound=Enum)


class Hop(NamedTuple, Generic[S]):
    """A transition taken from one of its sources."""

    source: S
    transition: Arrow[S, Any]


def hops(machine: Machine[S, Any, Any]) -> tuple[Hop[S], ...]:
    """Return every hop, in the order of the declaration."""
    return tuple(Hop(source, each) for each in machine.transitions for source in each.sources)


def shortest_paths(machine: Machine[S, Any, Any]) -> dict[Hop[S], tuple[Hop[S], ...]]:
    """Return for every hop the shortest path from an initial state that ends with it, as if every guard could hold."""
    ways: dict[S, tuple[Hop[S], ...]] = dict.fromkeys(machine.initials, ())
    todo = deque(machine.initials)
    every = hops(machine)
    while todo:
        here = todo.popleft()
        for hop in every:
            if hop.source is here and hop.transition.target not in ways:
                ways[hop.transition.target] = (*ways[here], hop)
                todo.append(hop.transition.target)
    return {hop: (*ways[hop.source], hop) for hop in every}
