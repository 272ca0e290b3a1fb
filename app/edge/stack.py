"""The ordered middleware stack round the redirect path and the management application."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from app.edge.cached import CachedRedirects
from app.edge.drain import Draining
from app.edge.in_force import Snapshot
from app.edge.last_resort import LastResort
from app.edge.policies import is_not_the_routes, priority_of
from astra_core.middleware import (
    BreakerMiddleware,
    DeadlineMiddleware,
    DisconnectMiddleware,
    LimiterMiddleware,
    LogContextMiddleware,
    MetricsMiddleware,
    RequestIdMiddleware,
    RetryMiddleware,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.api import Current
    from app.clicks import Journal
    from app.edge.drain import Drain
    from app.edge.policies import EdgePolicies
    from app.edge.redirects import Freshness, Redirects
    from app.links import Resolver
    from astra_core.asgi import ASGIApp, Problems, Scope
    from astra_core.telemetry import Metrics

__all__ = ["build_edge"]


def untouched(app: ASGIApp) -> ASGIApp:
    """Put nothing round `app`: the place of a layer that is switched off."""
    return app


def build_edge(
    redirects: Redirects,
    *,
    resolver: Resolver,
    journal: Journal,
    freshness: Freshness,
    current: Current,
    drain: Drain,
    policies: EdgePolicies,
    metrics: Metrics,
    access_log: Callable[[ASGIApp], ASGIApp],
    tracing: Callable[[ASGIApp], ASGIApp] = untouched,
    trace_scope: Callable[[ASGIApp], ASGIApp] = untouched,
    problems: Problems,
) -> ASGIApp:
    """Stack the layers, outermost first; all of them fuse into one."""
    trusted = policies.trusted or None
    stack: list[Callable[[ASGIApp], ASGIApp]] = [
        # Outermost: it counts what the client sees, whoever answers.
        partial(MetricsMiddleware, metrics=metrics, clock=policies.clock),
        # A line for some of the requests, and for all that failed: as the client saw them too.
        access_log,
        # The span of a request that is traced: all below belongs to it. What is not traced costs a glance.
        tracing,
        # It answers for whatever the others raise, and nothing answers for it.
        partial(LastResort, problems=problems),
        # What memory answers awaits nothing, so it goes no further: nothing below has anything to bound for it, nor
        # needs a name for it. If it is logged the log gives it one.
        partial(CachedRedirects, resolver=resolver, journal=journal, freshness=freshness),
        # Whoever answers from here on, a client that does not take it keeps nothing of what is held below.
        policies.send_timeout,
        # All below, and the log, know the request by its id. A redirect does not carry it: a header costs 0.8 us.
        partial(RequestIdMiddleware, ids=policies.ids, answers=_is_no_redirect),
        # It answers for the requests that shutdown cancels, wherever inside they wait.
        partial(Draining, drain=drain, problems=problems),
        # What is called from here on hears whether the request is traced.
        trace_scope,
        # What is logged from here on names its request. Above, nothing is logged of a request but its own line.
        LogContextMiddleware,
        # What an operator may change meanwhile is fixed for this request before anything waits.
        partial(Snapshot, current=current),
        # The time that a request has begins here, so the wait in the limiter's queue is part of it.
        partial(DeadlineMiddleware, deadlines=policies.deadlines, trusted=trusted, problems=problems),
        # No more at once than the process bears, and than one connection may have.
        partial(
            LimiterMiddleware,
            limiter=policies.limiter,
            per_client=policies.connections,
            priority=priority_of,
            problems=problems,
            clock=policies.clock,
        ),
        # A read that nobody waits for any more gives its permit back. A write goes on: whether it happened must not
        # hang on a cable.
        partial(DisconnectMiddleware, sweep=policies.sweep, when=_is_read),
        # Outside the breaker: each try meets it anew, and is counted by it.
        partial(
            RetryMiddleware,
            retry=policies.retry,
            statuses=frozenset(),  # whatever fails in here raises
            max_body=policies.retry_body,
            clock=policies.clock,
        ),
        # By route, management alone: above the redirects it would refuse cached links because unknown ones fail. The
        # store has a breaker of its own, and is back when that one says so.
        partial(
            BreakerMiddleware,
            breaker=policies.breaker,
            key=policies.key,
            ignore=is_not_the_routes,
            problems=problems,
            clock=policies.clock,
        ),
    ]
    app: ASGIApp = redirects
    for layer in reversed(stack):
        app = layer(app)
    return app


def _is_read(scope: Scope) -> bool:
    return scope["method"] in {"GET", "HEAD"}


def _is_no_redirect(status: int) -> bool:
    return status // 100 != 3
