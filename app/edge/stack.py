"""The ordered middleware stack round the redirect path and the management application."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from app.edge.in_flight import InFlight
from app.edge.last_resort import LastResort

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.edge.in_flight import Requests
    from app.edge.redirects import Redirects
    from astra_core.asgi import ASGIApp, Layer, Problems

__all__ = ["build_edge"]


def build_edge(redirects: Redirects, *, requests: Requests, problems: Problems) -> ASGIApp:
    """Stack the layers, outermost first; all of them fuse into one."""
    stack: list[Callable[[ASGIApp], Layer]] = [
        # Outermost: it answers for whatever the others raise, and nothing answers for it.
        partial(LastResort, problems=problems),
        # Next: it must see a request from its first step to its last, and it answers its own cancellations.
        partial(InFlight, requests=requests, problems=problems),
    ]
    app: ASGIApp = redirects
    for layer in reversed(stack):
        app = layer(app)
    return app
