"""Which route answers a request, as the template that metrics, spans and log lines name it by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astra_core.asgi.types import Scope

__all__ = ["ROUTE", "route_of"]

ROUTE = "astra.route"
"""Key of the scope under which an application without a router leaves its template, such as `/{code}`."""


def route_of(scope: Scope) -> str | None:
    """Return the template of the route that answers `scope`, None while, or when, none was found.

    It is known once the application has routed: ask in `start`, `rescue` or `leave`. A Starlette or FastAPI router
    leaves its route in the scope; within a mount that is the path below the mount, as the router knows no more.
    """
    template: str | None = scope.get(ROUTE)
    if template is not None:
        return template
    route = scope.get("route")
    path: str | None = getattr(route, "path_format", None) or getattr(route, "path", None)
    return path
