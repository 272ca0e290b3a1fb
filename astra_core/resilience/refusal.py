"""What is a refusal of our own: it says nothing about what was to be called."""

from __future__ import annotations

from aiobreaker import CircuitBreakerError

from astra_core.errors import Overloaded
from astra_core.resilience.deadline import DeadlineExceeded

__all__ = ["refused_by_us"]


def refused_by_us(error: BaseException | None) -> bool:
    """Whether `error` is a limiter's or a breaker's refusal, or a deadline that the caller had shortened.

    No breaker counts it, either way: through those no stranger opens one.
    """
    return isinstance(error, (Overloaded, CircuitBreakerError)) or (
        isinstance(error, DeadlineExceeded) and not error.own
    )
