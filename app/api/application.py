"""The management application: Starlette's router over the table of operations.

It answers no error itself: each leaves as an exception, and the edge turns it into problem+json (`problem_of`).
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.routing import Route, Router

from app.api.answers import json_answer
from app.api.openapi import document
from app.api.problems import refuse
from astra_core.asgi import ROUTE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Mapping, Sequence

    from app.api.operation import Handler, Operation
    from app.api.problems import RequestRefused
    from astra_core.asgi import Receive, Response, Scope, Send

__all__ = ["Management", "build_management"]

_SHOWN = 100
"""Characters of a name that a message shows."""


def build_management(operations: Sequence[Operation], *, version: str) -> Management:
    """Return the application that serves `operations` and `/openapi.json`."""
    by_path: dict[str, dict[str, Handler]] = {}
    queries: dict[tuple[str, str], Collection[str]] = {}
    for operation in operations:
        if operation.handler is not None:
            by_path.setdefault(operation.path, {})[operation.method] = operation.handler
            if not operation.any_query:
                names = tuple(one.name for one in operation.parameters if one.where == "query")
                queries[operation.path, operation.method] = names
    openapi = document(operations, version=version)

    async def describe(request: Request) -> Response:
        return json_answer(200, openapi)

    by_path["/openapi.json"] = {"GET": describe}
    endpoints = {
        path: _Endpoint(handlers, {method: queries[path, method] for method in handlers if (path, method) in queries})
        for path, handlers in by_path.items()
    }
    return Management(endpoints)


class Management:
    """The router, told that exceptions are handled above it: so an unknown path and method are exceptions too.

    Most requests are for a path without parameters, which a dict finds ten times faster than the router does.
    """

    def __init__(self, endpoints: Mapping[str, _Endpoint]) -> None:
        self.routes = [Route(path, endpoint, methods=list(endpoint.methods)) for path, endpoint in endpoints.items()]
        self._router = Router(self.routes, redirect_slashes=False)
        self._endpoints = {path: endpoint for path, endpoint in endpoints.items() if "{" not in path}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Route one request. A plain function: it costs no coroutine of its own."""
        scope["app"] = self
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is not None and scope["method"] in endpoint.methods:
            scope[ROUTE] = scope["path"]
            return endpoint(scope, receive, send)
        return self._router(scope, receive, send)


class _Endpoint:
    """All methods of one path, so that a 405 can name every one of them."""

    def __init__(self, handlers: Mapping[str, Handler], queries: Mapping[str, Collection[str]]) -> None:
        """`queries` names by method what a query may hold; a method that is not in it takes any."""
        self.methods = {**handlers, "HEAD": handlers["GET"]} if "GET" in handlers else dict(handlers)
        self._queries = {**queries, "HEAD": queries["GET"]} if "GET" in queries else dict(queries)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["query_string"] and (known := self._queries.get(scope["method"])) is not None:
            seen = set()
            for name, _ in QueryParams(scope["query_string"]).multi_items():
                if name not in known or name in seen:
                    raise _refused(name, known, scope)
                seen.add(name)
        response = await self.methods[scope["method"]](Request(scope, receive))
        await response(scope, receive, send)


def _refused(name: str, known: Collection[str], scope: Scope) -> RequestRefused:
    """A filter that is misspelled, or given twice, and ignored would answer with what was not asked for."""
    near = difflib.get_close_matches(name[:_SHOWN], known, n=1)
    remedy = f"perhaps {near[0]} is meant." if near else f"known: {', '.join(known)}." if known else "leave it out."
    shown = name if len(name) <= _SHOWN and name.isprintable() else ascii(name[:_SHOWN])
    wrong = "stands twice in the query; give it once." if name in known else f"unknown query parameter; {remedy}"
    read = scope["method"] in {"GET", "HEAD"}
    header = None if read else ("connection", "close")  # a body may come, and nobody is going to read it
    return refuse(422, f"{shown}: {wrong}", header=header)
