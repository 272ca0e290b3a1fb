"""The management application: Starlette routes made from the table of operations, problem+json for everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from app.api.models import NewLink
from app.api.openapi import document
from app.api.problems import problem_of
from astra_core.asgi import Problem
from astra_core.errors import AstraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from app.api.operation import Handler, Operation
    from astra_core.asgi import Problems

__all__ = ["build_management"]

_DETAILS = {
    404: "There is nothing at this path; /openapi.json lists what there is.",
    405: "This path does not answer this method; see Allow.",
}


def build_management(operations: Sequence[Operation], *, problems: Problems, version: str) -> Starlette:
    """Return the application that serves `operations` and `/openapi.json`."""
    by_path: dict[str, dict[str, Handler]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation.handler
    openapi = Response(document(operations, version=version, extra=(NewLink,)), media_type="application/json")

    async def describe(request: Request) -> Response:
        return openapi

    by_path["/openapi.json"] = {"GET": describe}
    routes = [Route(path, _by_method(handlers), methods=list(handlers)) for path, handlers in by_path.items()]

    def answer(request: Request, problem: Problem) -> Response:
        made = problems.respond(problem, request.scope)
        response = Response(made.body, status_code=made.status)
        response.raw_headers += made.headers
        return response

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
        headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
        detail = _DETAILS.get(error.status_code, error.detail)
        return answer(request, Problem(status=error.status_code, detail=detail, headers=headers))

    async def on_error(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem is None:
            raise error
        return answer(request, problem)

    app = Starlette(routes=routes, exception_handlers={HTTPException: on_http_error, AstraError: on_error})
    app.router.redirect_slashes = False
    return app


def _by_method(handlers: Mapping[str, Handler]) -> Handler:
    """Return one endpoint for all methods of a path, so that a 405 can name every one of them."""

    async def endpoint(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return endpoint
