"""How a module tells what happened without knowing who cares: it calls its listeners with a frozen dataclass."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Listener", "Listeners", "hears"]

L = TypeVar("L", bound="Listener")

_log = logging.getLogger("astra.events")


class Listener(Protocol):
    """Called with each event, on the event loop's thread, in line: it must be quick and must not block.

    One with an attribute `kinds`, a set of classes of events, hears of no others: see `hears`.
    """

    def __call__(self, event: object, /) -> None:
        """Take note of `event`."""
        ...


def hears(*kinds: type) -> Callable[[L], L]:
    """Say which events a function wants: `Listeners` do not call it for others, as there are very many of some."""

    def mark(listener: L) -> L:
        listener.kinds = frozenset(kinds)  # type: ignore[attr-defined]
        return listener

    return mark


class Listeners:
    """Several listeners as one. False when there are none, so a producer can spare building the event."""

    __slots__ = ("_by_kind", "_listeners")

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners
        self._by_kind: dict[type, tuple[Listener, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def __call__(self, event: object, /) -> None:
        """Hand `event` to every listener; one that raises is logged, and neither producer nor others feel it."""
        listeners = self._by_kind.get(type(event))
        if listeners is None:
            listeners = self._by_kind[type(event)] = self._who_hear(type(event))
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                _log.exception("the listener %r failed on %r", listener, event)

    def _who_hear(self, kind: type) -> tuple[Listener, ...]:
        wanted: Any = [(listener, getattr(listener, "kinds", None)) for listener in self._listeners]
        return tuple(listener for listener, kinds in wanted if kinds is None or kind in kinds)

    def __repr__(self) -> str:
        return f"Listeners({', '.join(map(repr, self._listeners))})"
