"""One operation of the API as data: the router and `/openapi.json` are both made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from starlette.requests import Request

from astra_core.asgi import ASGIApp

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Handler", "Operation", "Parameter"]

Handler: TypeAlias = Callable[[Request], Awaitable[ASGIApp]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter in the path, the query or a header, with its JSON Schema."""

    name: str
    where: str
    schema: Mapping[str, Any]
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Method, path and handler, and what goes in and out. `answers` maps a status to the JSON type of its body.

    `handler` is None for what the edge answers itself: that is described here and not routed.
    """

    method: str
    path: str
    handler: Handler | None
    name: str
    summary: str
    answers: Mapping[int, Any]
    body: Any = None
    media: tuple[str, ...] = ("application/json",)
    produces: tuple[str, ...] = ("application/json",)
    admin: bool = False
    """A bearer token may stand before it."""
    parameters: tuple[Parameter, ...] = ()
    pages: tuple[int, ...] = ()
    """Problems that a browser gets as an HTML page."""
    any_query: bool = False
    """Whether its query may hold what `parameters` do not name; else that is refused with 422."""
    problems: tuple[int, ...] = ()
    headers: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """Response headers by status: name -> description."""
