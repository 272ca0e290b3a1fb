"""What the middleware of the stack is told: one policy each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.api import problem_of
from astra_core.errors import StoreUnavailable
from astra_core.middleware import client_left
from astra_core.resilience import Priority

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.edge.proxies import TrustedProxies
    from astra_core.asgi import RequestIds, Scope
    from astra_core.clock import Clock
    from astra_core.resilience import CircuitBreaker, Deadlines, KeyedLimiter, Limiter, RetryPolicy, Sweep

__all__ = ["EdgePolicies", "is_not_the_routes", "is_our_fault", "priority_of"]

_SERVER_ERROR = 500


@dataclass(frozen=True, kw_only=True)
class EdgePolicies:
    """The parts hold all state; their parameters may be replaced while they run.

    `breaker` makes the breaker of one route, `key` names the route of a request, None for one that has none.
    `retry_body` is the largest body in bytes that is kept for another try.
    """

    ids: RequestIds
    trusted: TrustedProxies
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
    """Whether `error` says nothing of the route: the store failed, or the client left."""
    return isinstance(error, StoreUnavailable) or client_left(error)


def is_our_fault(error: Exception) -> bool:
    """Whether `error` speaks against the service: not one that its problem lays at the caller's door."""
    problem = problem_of(error)
    return problem is None or problem.status >= _SERVER_ERROR
