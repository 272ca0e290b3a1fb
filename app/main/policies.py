"""Settings to policies: what stands round each dependency, and round the service itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.routing import Route

from app.edge import EdgePolicies, is_our_fault, is_worth_another_try
from astra_core.coordination import coordination_is_failing, coordination_said_nothing
from astra_core.events import BreakerClosed, BreakerHalfOpened, BreakerOpened, BreakerOverridden, hears
from astra_core.messaging import messaging_is_failing, messaging_said_nothing
from astra_core.middleware import RouteKeys, SendTimeoutMiddleware
from astra_core.resilience import (
    BreakerParameters,
    CircuitBreaker,
    DeadlineParameters,
    Deadlines,
    FullJitter,
    KeyedLimiter,
    Limiter,
    LimiterParameters,
    Policy,
    RetryBudget,
    RetryBudgetParameters,
    RetryParameters,
    RetryPolicy,
    own_deadline_expired,
    unsent,
)
from astra_core.storage import store_is_failing, store_said_nothing, wrote_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.routing import BaseRoute

    from app.edge import TrustedProxies
    from app.main.instruments import Instruments
    from app.main.live import Live
    from app.settings import Breaker, Bulkhead, Retry, Safeguards, Settings
    from astra_core.asgi import ASGIApp, RequestIds
    from astra_core.clock import Clock
    from astra_core.events import Listener
    from astra_core.resilience import Sweep
    from astra_core.resilience.breaker_probe import Probe, Spawn

__all__ = ["LEASES", "MESSAGES", "STORE", "Errors", "PolicyFactory", "log_breakers"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Errors:
    """What the errors of a kind of dependency mean to the policy round it."""

    is_failure: Callable[[Exception], bool]
    """It speaks against the dependency: counted by the breaker, and tried again."""
    ignore: Callable[[Exception], bool]
    """It says nothing of the dependency, for or against."""
    is_unsent: Callable[[Exception], bool] = unsent
    """Nothing came to be by the call, so that any may be repeated."""


STORE = Errors(is_failure=store_is_failing, ignore=store_said_nothing, is_unsent=wrote_nothing)
LEASES = Errors(is_failure=coordination_is_failing, ignore=coordination_said_nothing)
MESSAGES = Errors(is_failure=messaging_is_failing, ignore=messaging_said_nothing)


@dataclass(frozen=True, kw_only=True)
class PolicyFactory:
    """Makes the parts of policies; all share one sweep and tell the same listeners.

    Each is shown by `instruments`, and follows its part of the `live` settings, which a `pick` names.
    """

    sweep: Sweep
    clock: Clock
    listeners: Listener
    spawn: Spawn
    instruments: Instruments
    live: Live

    def dependency(
        self,
        name: str,
        errors: Errors,
        *,
        pick: Callable[[Settings], Safeguards],
        deadline: Callable[[Settings], float],
        probe: Probe,
    ) -> Policy:
        """Return what stands round every call of `name`; `deadline` seconds bound one with its retries and waits.

        `probe` asks the dependency itself, in the background: nobody's call finds out whether it works again.
        """
        return Policy(
            name=name,
            deadline=self.deadlines(name, lambda s: DeadlineParameters(budget=deadline(s))),
            retry=self.retry(name, lambda s: pick(s).retry, retry_on=errors.is_failure, is_unsent=errors.is_unsent),
            breaker=self.breaker(
                name,
                lambda s: pick(s).breaker,
                is_failure=errors.is_failure,
                ignore=errors.ignore,
                probe=probe,
            ),
            limiter=self.limiter(name, lambda s: pick(s).bulkhead),
        )

    def edge(self, *, routes: Sequence[BaseRoute], ids: RequestIds, trusted: TrustedProxies) -> EdgePolicies:
        """Return what the middleware round every request is told; the versioned `routes` have a breaker each."""
        settings = self.live.settings.http
        connections = KeyedLimiter("connections", limit=settings.per_connection, listeners=self.listeners)
        self.live.attribute(connections, "limit", lambda s: s.http.per_connection)
        return EdgePolicies(
            ids=ids,
            trusted=trusted,
            send_timeout=self._send_timeout,
            deadlines=self.deadlines(
                "request", lambda s: DeadlineParameters(budget=s.http.deadline, floor=s.http.deadline_floor)
            ),
            limiter=self.limiter("requests", lambda s: s.http.requests),
            connections=connections,
            retry=self.retry("requests", lambda s: s.http.retry, retry_on=is_worth_another_try),
            retry_body=settings.retry_body,
            breaker=lambda route: self.breaker(f"route {route}", lambda s: s.http.breaker, is_failure=is_our_fault),
            key=RouteKeys([route for route in routes if isinstance(route, Route) and route.path.startswith("/v1/")]),
            sweep=self.sweep,
            clock=self.clock,
        )

    def _send_timeout(self, app: ASGIApp) -> ASGIApp:
        """Bound each send of what `app` answers."""
        timeout = self.live.settings.http.send_timeout
        layer = SendTimeoutMiddleware(app, timeout=timeout, sweep=self.sweep, listeners=self.listeners)
        self.live.attribute(layer, "timeout", lambda s: s.http.send_timeout)
        self.instruments.deadlines("send")
        return layer

    def deadlines(self, name: str, part: Callable[[Settings], DeadlineParameters]) -> Deadlines:
        """Return deadlines."""
        parameters = part(self.live.settings)
        deadlines = Deadlines(name, sweep=self.sweep, parameters=parameters, listeners=self.listeners)
        self.live.parameters(deadlines, part)
        self.instruments.deadlines(name)
        return deadlines

    def retry(
        self,
        name: str,
        pick: Callable[[Settings], Retry],
        *,
        retry_on: Callable[[Exception], bool],
        is_unsent: Callable[[Exception], bool] = unsent,
    ) -> RetryPolicy:
        """Return retries with a budget of their own."""
        settings = pick(self.live.settings)
        budget = RetryBudget(parameters=budget_parameters(settings), clock=self.clock)
        retry = RetryPolicy(
            name,
            sweep=self.sweep,
            parameters=retry_parameters(settings),
            budget=budget,
            retry_on=retry_on,
            is_unsent=is_unsent,
            listeners=self.listeners,
        )
        self.live.parameters(budget, lambda s: budget_parameters(pick(s)))
        self.live.parameters(retry, lambda s: retry_parameters(pick(s)))
        self.instruments.budget(name, budget)
        return retry

    def breaker(
        self,
        name: str,
        pick: Callable[[Settings], Breaker],
        *,
        is_failure: Callable[[Exception], bool],
        ignore: Callable[[Exception], bool] | None = None,
        probe: Probe | None = None,
    ) -> CircuitBreaker:
        """Return a breaker; the failure that opens it keeps its own error. Without a `probe` calls are the probes."""
        breaker = CircuitBreaker(
            name=name,
            parameters=breaker_parameters(pick(self.live.settings)),
            clock=self.clock,
            events=self.listeners,
            is_failure=is_failure,
            ignore=ignore,
            cancellation_is_failure=own_deadline_expired,
            raise_original=True,
            probe=probe,
            spawn=None if probe is None else self.spawn,
        )
        self.live.parameters(breaker, lambda s: breaker_parameters(pick(s)))
        self.instruments.breaker(breaker)
        return breaker

    def limiter(self, name: str, pick: Callable[[Settings], Bulkhead]) -> Limiter:
        """Return a bulkhead."""
        parameters = limiter_parameters(pick(self.live.settings))
        limiter = Limiter(name, sweep=self.sweep, parameters=parameters, listeners=self.listeners)
        self.live.parameters(limiter, lambda s: limiter_parameters(pick(s)))
        self.instruments.limiter(limiter)
        return limiter


def breaker_parameters(settings: Breaker) -> BreakerParameters:
    """Return the knobs of a breaker."""
    return BreakerParameters(
        failure_rate=settings.failure_rate,
        slow_rate=settings.slow_rate,
        slow_after=settings.slow_after,
        window_seconds=settings.window,
        minimum_calls=settings.minimum_calls,
        open_for=settings.open_for,
        open_multiplier=settings.open_multiplier,
        open_cap=settings.open_cap,
        open_jitter=settings.open_jitter,
        probes=settings.probes,
        probe_wait=settings.probe_wait,
        ramp=settings.ramp,
        ramp_start=settings.ramp_start,
    )


def retry_parameters(settings: Retry) -> RetryParameters:
    """Return the knobs of retries."""
    return RetryParameters(
        attempts=settings.attempts,
        try_timeout=settings.try_timeout,
        backoff=FullJitter(base=settings.base, cap=settings.cap),
        max_retry_after=settings.max_retry_after,
    )


def budget_parameters(settings: Retry) -> RetryBudgetParameters:
    """Return the knobs of a retry budget."""
    return RetryBudgetParameters(
        ratio=settings.budget_ratio, floor=settings.budget_floor, window=settings.budget_window
    )


def limiter_parameters(settings: Bulkhead) -> LimiterParameters:
    """Return the knobs of a bulkhead."""
    return LimiterParameters(limit=settings.limit, queue=settings.queue, timeout=settings.timeout)


@hears(BreakerOpened, BreakerHalfOpened, BreakerClosed, BreakerOverridden)
def log_breakers(event: object) -> None:
    """Log what an operator should know of: a breaker that opens, tries again, closes, or is held by hand."""
    match event:
        case BreakerOpened():
            logger.warning("breaker %s opened for %.1f s: %s", event.name, event.seconds, event.reason)
        case BreakerHalfOpened():
            logger.info("breaker %s lets %d calls try: %s", event.name, event.probes, event.reason)
        case BreakerClosed():
            logger.info("breaker %s closed: %s", event.name, event.reason)
        case BreakerOverridden():
            logger.warning("breaker %s is held by hand: %s", event.name, event.state)
        case _:
            pass
