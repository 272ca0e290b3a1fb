"""The policies of the matrix: those of a service, with times that a test can wait for."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from astra_core.resilience import (
    BreakerParameters,
    CircuitBreaker,
    DeadlineParameters,
    Deadlines,
    FullJitter,
    Limiter,
    LimiterParameters,
    Policy,
    RetryBudget,
    RetryParameters,
    RetryPolicy,
    Sweep,
    own_deadline_expired,
    transient,
    unsent,
)
from astra_core.storage import store_is_failing, store_said_nothing, wrote_nothing

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEADLINE", "Guard", "guard_of", "store_guard"]

DEADLINE = 0.3
"""Seconds that any call may take, retries and queues included."""

_BREAKER = BreakerParameters(
    failure_rate=0.5, window_calls=10, minimum_calls=4, open_for=0.6, open_multiplier=1.5, open_cap=1.2, probes=2
)


@dataclass(frozen=True)
class Guard:
    """A policy with all its parts, and its breaker."""

    policy: Policy
    breaker: CircuitBreaker


def guard_of(
    name: str,
    *,
    is_failure: Callable[[Exception], bool] = transient,
    ignore: Callable[[Exception], bool] | None = None,
    is_unsent: Callable[[Exception], bool] = unsent,
) -> Guard:
    """Build one for a dependency."""
    sweep = Sweep()
    breaker = CircuitBreaker(
        name=name,
        parameters=_BREAKER,
        random=Random(1),
        is_failure=is_failure,
        ignore=ignore,
        cancellation_is_failure=own_deadline_expired,
    )
    policy = Policy(
        name=name,
        deadline=Deadlines(name, sweep=sweep, parameters=DeadlineParameters(budget=DEADLINE)),
        retry=RetryPolicy(
            name,
            sweep=sweep,
            parameters=RetryParameters(attempts=3, backoff=FullJitter(base=0.01, cap=0.05), max_retry_after=0.0),
            budget=RetryBudget(),
            retry_on=is_failure,
            is_unsent=is_unsent,
            random=Random(2),
        ),
        breaker=breaker,
        limiter=Limiter(name, sweep=sweep, parameters=LimiterParameters(limit=16, queue=64, timeout=0.2)),
    )
    return Guard(policy, breaker)


def store_guard(name: str) -> Guard:
    """Build the one for reads or writes of a store."""
    return guard_of(name, is_failure=store_is_failing, ignore=store_said_nothing, is_unsent=wrote_nothing)
