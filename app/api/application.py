"""The management application: Starlette's router over the table of operations.

It answers no error itself: each leaves as an exception, and the edge turns it into problem+json (`problem_of`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route, Router

from app.api.answers import json_answer
from app.api.openapi import document
from astra_core.asgi import ROUTE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.api.operation import Handler, Operation
    from astra_core.asgi import Receive, Response, Scope, Send

__all__ = ["Management", "build_management"]


def build_management(operations: Sequence[Operation], *, version: str) -> Management:
    """Return the application that serves `operations` and `/openapi.json`."""
    by_path: dict[str, dict[str, Handler]] = {}
    for operation in operations:
        if operation.handler is not None:
            by_path.setdefault(operation.path, {})[operation.method] = operation.handler
    openapi = document(operations, version=version)

    async def describe(request: Request) -> Response:
        return json_answer(200, openapi)

    by_path["/openapi.json"] = {"GET": describe}
    endpoints = {path: _Endpoint(handlers) for path, handlers in by_path.items()}
    return Management(endpoints)


class Management:
    """The router, told that exceptions are handled above it: so an unknown path and method are exceptions too.

    Most requests are for a path without parameters, which a dict finds ten times faster than the router does.
    """

    def __init__(self, endpoints: Mapping[str, _Endpoint]) -> None:
        self.routes = [Route(path, endpoint, methods=list(endpoint.methods)) for path, endpoint in endpoints.items()]
        self._router = Router(self.routes, redirect_slashes=False)
        self._endpoints = {path: endpoint for path, endpoint in endpoints.items() if "{" not in path}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one request."""
        scope["app"] = self
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is not None and scope["method"] in endpoint.methods:
            scope[ROUTE] = scope["path"]
            await endpoint(scope, receive, send)
        else:
            await self._router(scope, receive, send)


class _Endpoint:
    """All methods of one path, so that a 405 can name every one of them."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.methods = {**handlers, "HEAD": handlers["GET"]} if "GET" in handlers else dict(handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.methods[scope["method"]](Request(scope, receive))
        await response(scope, receive, send)
