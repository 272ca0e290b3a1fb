"""The rules that a request goes by, fixed when it comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.api import IN_FORCE
from astra_core.asgi import Layer

if TYPE_CHECKING:
    from app.api import Current
    from astra_core.asgi import ASGIApp, Exchange

__all__ = ["Snapshot"]


class Snapshot(Layer):
    """Leaves what is in force in the scope, so that a reload meanwhile changes nothing for this request."""

    def __init__(self, app: ASGIApp, *, current: Current) -> None:
        super().__init__(app)
        self._current = current

    def enter(self, x: Exchange) -> None:
        """Take the reference."""
        x.scope[IN_FORCE] = self._current.value
