"""A plain Starlette application before one dependency: it asks it under a policy, and says so when that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from astra_core.asgi import Problem, Problems, RequestIds
from astra_core.errors import Overloaded
from astra_core.resilience import BreakerOpen, retry_after_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from starlette.requests import Request

    from tests.integration.faults.policies import Guard

__all__ = ["front"]


def front(ask: Callable[[], Awaitable[str]], guard: Guard) -> Starlette:
    """`GET /` answers what `ask` returned; 503 when it is refused or broke off, 504 when it took too long."""
    policy, problems = guard.policy.idempotent, Problems(RequestIds())

    async def root(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await policy.call(ask))

    async def away(request: Request, error: Exception) -> Any:
        wait = retry_after_of(error) or guard.breaker.retry_after or 1.0
        problem = Problem(status=503, detail=f"{guard.policy.name} does not answer now.", retry_after=wait)
        return problems.respond(problem, request.scope)

    async def late(request: Request, error: Exception) -> Any:
        problem = Problem(status=504, detail=f"{guard.policy.name} did not answer in time.")
        return problems.respond(problem, request.scope)

    return Starlette(
        routes=[Route("/", root)],
        exception_handlers={BreakerOpen: away, Overloaded: away, ConnectionError: away, TimeoutError: late},
    )
