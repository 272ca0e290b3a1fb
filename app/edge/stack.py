"""The ordered middleware stack round the redirect path and the management application."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from app.edge.cached import CachedRedirects
from app.edge.drain import Draining
from app.edge.last_resort import LastResort

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.clicks import Journal
    from app.edge.drain import Drain
    from app.edge.redirects import Redirects
    from app.links import Resolver
    from astra_core.asgi import ASGIApp, Layer, Problems

__all__ = ["build_edge"]


def build_edge(
    redirects: Redirects, *, resolver: Resolver, journal: Journal, drain: Drain, problems: Problems
) -> ASGIApp:
    """Stack the layers, outermost first; all of them fuse into one."""
    stack: list[Callable[[ASGIApp], Layer]] = [
        # Outermost: it answers for whatever the others raise, and nothing answers for it.
        partial(LastResort, problems=problems),
        # Next: it answers for the requests that shutdown cancels, wherever inside they wait.
        partial(Draining, drain=drain, problems=problems),
        # Innermost but the application: what memory answers goes no further.
        partial(CachedRedirects, resolver=resolver, journal=journal, cache_control=redirects.cache_control),
    ]
    app: ASGIApp = redirects
    for layer in reversed(stack):
        app = layer(app)
    return app
