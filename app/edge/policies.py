"""What the middleware of the stack is told: one policy each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.api import problem_of
from app.imports import NoRoom, TooManyUploads
from astra_core.errors import CommitInDoubt, StoreUnavailable
from astra_core.middleware import client_left
from astra_core.resilience import Priority
from astra_core.storage import store_is_failing

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.edge.proxies import TrustedProxies
    from astra_core.asgi import ASGIApp, RequestIds, Scope
    from astra_core.clock import Clock
    from astra_core.resilience import CircuitBreaker, Deadlines, KeyedLimiter, Limiter, RetryPolicy, Sweep

__all__ = ["EdgePolicies", "is_not_the_routes", "is_our_fault", "is_worth_another_try", "priority_of"]

_SERVER_ERROR = 500


@dataclass(frozen=True, kw_only=True)
class EdgePolicies:
    """The parts hold all state; their parameters may be replaced while they run.

    `send_timeout` puts the bound of one send round an application. `breaker` makes the breaker of one route, `key`
    names the route of a request, None for one that has none.
    `retry_body` is the largest body in bytes that is kept for another try.
    """

    ids: RequestIds
    trusted: TrustedProxies
    send_timeout: Callable[[ASGIApp], ASGIApp]
    deadlines: Deadlines
    limiter: Limiter
    connections: KeyedLimiter
    retry: RetryPolicy
    retry_body: int
    breaker: Callable[[str], CircuitBreaker]
    key: Callable[[Scope], str | None]
    sweep: Sweep
    clock: Clock


def priority_of(scope: Scope) -> Priority:
    """Health and redirects before management."""
    return Priority.NORMAL if scope["path"].startswith("/v1/") else Priority.CRITICAL


def is_not_the_routes(error: Exception) -> bool:
    """Whether `error` says nothing of the route: the store failed, others took the room, or the client left."""
    return isinstance(error, (StoreUnavailable, NoRoom, TooManyUploads)) or client_left(error)


def is_worth_another_try(error: Exception) -> bool:
    """Whether a request that failed by `error` may be run again: never one whose commit may have happened.

    A `Take` would take two visits then, and a change be answered by what its own first try made of the link.
    """
    return store_is_failing(error) and not isinstance(error, CommitInDoubt)


def is_our_fault(error: Exception) -> bool:
    """Whether `error` speaks against the service: not one that its problem lays at the caller's door."""
    problem = problem_of(error)
    return problem is None or problem.status >= _SERVER_ERROR
