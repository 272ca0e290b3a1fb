"""Hypothesis strategies made from a machine: walks that between them take every transition it has.

Needs `hypothesis`, so it is imported by its own name and not by `astra_core.testing`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from hypothesis import strategies as st

from astra_core.fsm import Decision, Hop, Machine, hops, shortest_paths, transition

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Move", "Walk", "walks"]

S = TypeVar("S", bound=Enum)
E = TypeVar("E")
C = TypeVar("C")


class Move(NamedTuple, Generic[E, C]):
    """An event and the context that its guards read."""

    event: E
    context: C


class Walk(NamedTuple, Generic[S, E, C]):
    """Moves from an initial state, each of them taken, and what was decided about each."""

    initial: S
    moves: tuple[Move[E, C], ...]
    decisions: tuple[Decision[S, E], ...]


def walks(
    machine: Machine[S, E, C],
    moves: Callable[[Hop[S]], st.SearchStrategy[tuple[E, C]]],
    *,
    further: int = 5,
) -> st.SearchStrategy[Walk[S, E, C]]:
    """Return walks: the shortest path to a hop drawn from all of them, then up to `further` hops at random.

    `moves(hop)` gives an event and a context for a hop; those that do not take it are drawn again. A hop that no move
    takes makes Hypothesis complain, so a guard that cannot hold is found.
    """
    paths = shortest_paths(machine)
    leaving: dict[S, list[Hop[S]]] = {}
    for hop in hops(machine):
        leaving.setdefault(hop.source, []).append(hop)

    @st.composite
    def walk(draw: st.DrawFn) -> Walk[S, E, C]:
        route = list(paths[draw(st.sampled_from(list(paths)))])
        for _ in range(draw(st.integers(0, further))):
            if onwards := leaving.get(route[-1].transition.target):
                route.append(draw(st.sampled_from(onwards)))
        taken = [draw(_takes(machine, hop, moves(hop))) for hop in route]
        return Walk(route[0].source, tuple(move for move, _ in taken), tuple(decision for _, decision in taken))

    return walk()


def _takes(
    machine: Machine[S, E, C], hop: Hop[S], moves: st.SearchStrategy[tuple[E, C]]
) -> st.SearchStrategy[tuple[Move[E, C], Decision[S, E]]]:
    def step(move: tuple[E, C]) -> tuple[Move[E, C], Decision[S, E]]:
        decision: Any = transition(machine, hop.source, *move)
        return Move(*move), decision

    return moves.map(step).filter(lambda taken: taken[1].transition is hop.transition)
