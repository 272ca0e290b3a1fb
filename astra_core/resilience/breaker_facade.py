"""aiobreaker's own words for a breaker's state, kept for those who speak them: its state objects and its error."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aiobreaker import CircuitBreakerError, CircuitBreakerState
from aiobreaker.state import CircuitBreakerBaseState, CircuitClosedState, CircuitHalfOpenState, CircuitOpenState

from astra_core.errors import AstraError
from astra_core.resilience.breaker_states import BreakerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.clock import Clock

__all__ = ["FACADES", "BreakerOpen", "facade_of"]


class BreakerOpen(CircuitBreakerError, AstraError):  # noqa: N818 - the field's term
    """The breaker `name`, in `state`, did not let the call pass, or was opened by it (`__cause__` is the call's error).

    `retry_after` is the wait in seconds after which it makes sense to come again. `reopen_time` is the same as a naive
    local time, as aiobreaker has it.
    """

    def __init__(self, message: str, *, name: str, state: BreakerState, retry_after: float, clock: Clock) -> None:
        super().__init__(message, datetime.fromtimestamp(clock.time() + retry_after))
        self.name = name
        self.state = state
        self.retry_after = retry_after
        self._clock = clock
        self._at = clock.monotonic() + retry_after

    @property
    def time_remaining(self) -> timedelta:
        """What is left of `retry_after` now, whatever became of the wall clock; never below zero."""
        return timedelta(seconds=max(0.0, self._at - self._clock.monotonic()))

    async def sleep_until_open(self) -> None:
        """Suspend the caller for that long."""
        await self._clock.sleep(self.time_remaining.total_seconds())

    def __str__(self) -> str:
        return self.message


class _Facade(CircuitBreakerBaseState):
    """A state object that decides nothing: calls go to the breaker."""

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As `CircuitBreaker.call`."""
        return self._breaker.call(func, *args, **kwargs)

    def call_async(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As `CircuitBreaker.call_async`."""
        return self._breaker.call_async(func, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class _Closed(_Facade, CircuitClosedState):
    def __init__(self, breaker: Any) -> None:
        CircuitBreakerBaseState.__init__(self, breaker, CircuitBreakerState.CLOSED)


class _Open(_Facade, CircuitOpenState):
    def __init__(self, breaker: Any) -> None:
        CircuitBreakerBaseState.__init__(self, breaker, CircuitBreakerState.OPEN)


class _HalfOpen(_Facade, CircuitHalfOpenState):
    def __init__(self, breaker: Any) -> None:
        CircuitBreakerBaseState.__init__(self, breaker, CircuitBreakerState.HALF_OPEN)


FACADES: dict[CircuitBreakerState, Callable[[Any], CircuitBreakerBaseState]] = {
    CircuitBreakerState.CLOSED: _Closed,
    CircuitBreakerState.OPEN: _Open,
    CircuitBreakerState.HALF_OPEN: _HalfOpen,
}

_STATES = {
    BreakerState.CLOSED: CircuitBreakerState.CLOSED,
    BreakerState.OPEN: CircuitBreakerState.OPEN,
    BreakerState.HALF_OPEN: CircuitBreakerState.HALF_OPEN,
    BreakerState.RAMPING: CircuitBreakerState.HALF_OPEN,  # it still refuses calls
    BreakerState.FORCED_OPEN: CircuitBreakerState.OPEN,
    BreakerState.DISABLED: CircuitBreakerState.CLOSED,
    BreakerState.METRICS_ONLY: CircuitBreakerState.CLOSED,
}


def facade_of(state: BreakerState) -> CircuitBreakerState:
    """Our state in aiobreaker's three words."""
    return _STATES[state]
