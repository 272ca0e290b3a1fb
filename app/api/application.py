"""The management application: Starlette's router over the table of operations.

It answers no error itself: each leaves as an exception, and the edge turns it into problem+json (`problem_of`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route, Router

from app.api.answers import json_answer
from app.api.openapi import document

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
    routes = [Route(path, _Endpoint(handlers), methods=list(handlers)) for path, handlers in by_path.items()]
    return Management(Router(routes, redirect_slashes=False))


class Management:
    """The router, told that exceptions are handled above it: so an unknown path and method are exceptions too."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.routes = router.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one request."""
        scope["app"] = self
        await self._router(scope, receive, send)


class _Endpoint:
    """All methods of one path, so that a 405 can name every one of them."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = {**handlers, "HEAD": handlers["GET"]} if "GET" in handlers else dict(handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._handlers[scope["method"]](Request(scope, receive))
        await response(scope, receive, send)
