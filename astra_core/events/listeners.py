"""How a module tells what happened without knowing who cares: it calls its listeners with a frozen dataclass."""

from __future__ import annotations

import logging
from typing import Protocol

__all__ = ["Listener", "Listeners"]

_log = logging.getLogger("astra.events")


class Listener(Protocol):
    """Called with each event, on the event loop's thread, in line: it must be quick and must not block."""

    def __call__(self, event: object, /) -> None:
        """Take note of `event`."""
        ...


class Listeners:
    """Several listeners as one. False when there are none, so a producer can spare building the event."""

    __slots__ = ("_listeners",)

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def __call__(self, event: object, /) -> None:
        """Hand `event` to every listener; one that raises is logged, and neither producer nor others feel it."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                _log.exception("the listener %r failed on %r", listener, event)

    def __repr__(self) -> str:
        return f"Listeners({', '.join(map(repr, self._listeners))})"
