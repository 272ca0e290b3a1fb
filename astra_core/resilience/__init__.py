"""Policies for calls that may fail: pure, with injected clock and randomness, events out, no I/O."""

from astra_core.resilience.adaptive import Gradient2, Gradient2Parameters
from astra_core.resilience.backoff import Backoff, Constant, DecorrelatedJitter, EqualJitter, FullJitter
from astra_core.resilience.breaker import BreakerOpen, BreakerParameters, BreakerSnapshot, BreakerState, CircuitBreaker
from astra_core.resilience.budget import RetryBudget, RetryBudgetParameters
from astra_core.resilience.deadline import (
    DEADLINE_HEADER,
    Deadline,
    DeadlineExceeded,
    DeadlineParameters,
    Deadlines,
    current_deadline,
    format_deadline,
    mark_not_begun,
    own_deadline_expired,
    parse_deadline,
    remaining,
)
from astra_core.resilience.limiter import AdaptiveLimit, KeyedLimiter, Limiter, LimiterParameters, Priority
from astra_core.resilience.policy import Policy
from astra_core.resilience.refusal import refused_by_us
from astra_core.resilience.retry import (
    Repeat,
    RetryParameters,
    RetryPolicy,
    parse_retry_after,
    retry_after_of,
    transient,
    unsent,
)
from astra_core.resilience.sweep import Sweep
from astra_core.resilience.throttle import AdaptiveThrottle, ThrottleParameters

__all__ = [
    "DEADLINE_HEADER",
    "AdaptiveLimit",
    "AdaptiveThrottle",
    "Backoff",
    "BreakerOpen",
    "BreakerParameters",
    "BreakerSnapshot",
    "BreakerState",
    "CircuitBreaker",
    "Constant",
    "Deadline",
    "DeadlineExceeded",
    "DeadlineParameters",
    "Deadlines",
    "DecorrelatedJitter",
    "EqualJitter",
    "FullJitter",
    "Gradient2",
    "Gradient2Parameters",
    "KeyedLimiter",
    "Limiter",
    "LimiterParameters",
    "Policy",
    "Priority",
    "Repeat",
    "RetryBudget",
    "RetryBudgetParameters",
    "RetryParameters",
    "RetryPolicy",
    "Sweep",
    "ThrottleParameters",
    "current_deadline",
    "format_deadline",
    "mark_not_begun",
    "own_deadline_expired",
    "parse_deadline",
    "parse_retry_after",
    "refused_by_us",
    "remaining",
    "retry_after_of",
    "transient",
    "unsent",
]
