"""aiobreaker's public surface over our circuit: the same names, without the faults.

What it gave wrongly and gives rightly here: times compare local with local, whatever the time zone; a pause of zero is
zero; an abstract class in `exclude` excludes its own; a function that another breaker decorated is still guarded.
"""

from __future__ import annotations

import functools
import inspect
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

import aiobreaker

from astra_core.resilience.breaker_facade import FACADES, facade_of
from astra_core.resilience.breaker_states import BreakerState, Close, HalfOpen, Open

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiobreaker import CircuitBreakerState
    from aiobreaker.state import CircuitBreakerBaseState

    from astra_core.clock import Clock
    from astra_core.resilience.breaker_circuit import Circuit
    from astra_core.resilience.breaker_parameters import BreakerParameters
    from astra_core.resilience.breaker_storage import StorageLink

__all__ = ["Surface"]

F = TypeVar("F", bound="Callable[..., Any]")

_log = logging.getLogger("astra.resilience")


class Surface(aiobreaker.CircuitBreaker):
    """The part of a breaker that aiobreaker named. `breaker.CircuitBreaker` is the whole."""

    _circuit: Circuit
    _clock: Clock
    _link: StorageLink
    _decorates = False
    """It guards a function that its own `call` must not guard again."""
    parameters: BreakerParameters

    @property
    def fail_counter(self) -> int:
        """Failures in a row of all who share the storage, as aiobreaker counts them: an excluded error resets it too.

        Nothing is decided by that reset: see `consecutive_failures`.
        """
        return self._link.current_counter()

    @property
    def fail_max(self) -> int | None:
        """Failures in a row that open it; None when it does not go by them."""
        return self.parameters.consecutive_failures

    @fail_max.setter
    def fail_max(self, number: int) -> None:
        self.parameters = replace(self.parameters, consecutive_failures=number)

    @property
    def timeout_duration(self) -> timedelta:
        """How long it stays open (the first time, when the pause grows). Setting it moves a pause under way."""
        return timedelta(seconds=self.parameters.open_for)

    @timeout_duration.setter  # type: ignore[override] # aiobreaker's annotation says datetime, and means this
    def timeout_duration(self, timeout: timedelta) -> None:
        self.parameters = replace(self.parameters, open_for=timeout.total_seconds())

    @property
    def opens_at(self) -> datetime | None:
        """When calls may pass again, as naive local time; None unless the breaker is open and its pause is not over."""
        remaining = self.time_until_open
        return None if remaining is None else datetime.fromtimestamp(self._clock.time() + remaining.total_seconds())

    @property
    def time_until_open(self) -> timedelta | None:
        """How long until calls may pass again; None unless the breaker is open and its pause is not over."""
        seconds = self._circuit.wait() if self._circuit.state is BreakerState.OPEN else 0.0
        return timedelta(seconds=seconds) if seconds > 0 else None

    async def sleep_until_open(self) -> None:
        """Suspend the caller for `time_until_open`."""
        remaining = self.time_until_open
        if remaining is not None:
            await self._clock.sleep(remaining.total_seconds())

    @property
    def current_state(self) -> CircuitBreakerState:
        """The state in aiobreaker's words: ramping is half-open there, disabled and metrics only are closed."""
        return self._link.current_state(facade_of(self._circuit.state))

    @property
    def state(self) -> CircuitBreakerBaseState:
        """The state object; what a shared storage says is followed first."""
        if self.current_state is not self._state.state:
            self._link.follow()
        return self._state

    @state.setter
    def state(self, state: CircuitBreakerState) -> None:
        self._command(state)

    def open(self) -> None:
        """Open it for one pause, from any state."""
        self._circuit.move(Open())

    def half_open(self) -> None:
        """Let probes through now, from any state."""
        self._circuit.move(HalfOpen())

    def close(self) -> None:
        """Close it and forget every failure, from any state."""
        self._circuit.move(Close())

    def is_system_error(self, exception: BaseException) -> bool:
        """Whether `exception` speaks against the dependency: no excluded class is its own, no exclusion holds."""
        for exclusion in self._excluded_exceptions:
            if isinstance(exclusion, type):
                if isinstance(exception, exclusion):
                    return False
            elif callable(exclusion):
                try:
                    if exclusion(exception):
                        return False
                except Exception:
                    _log.exception("the exclusion %r of a breaker failed on %r", exclusion, exception)
        return True

    @overload  # type: ignore[override] # narrower than aiobreaker's, which takes anything and raises TypeError
    def __call__(self, func: F, /) -> F: ...
    @overload
    def __call__(self, *, ignore_on_call: bool = True) -> Callable[[F], F]: ...
    def __call__(self, *call_args: Any, ignore_on_call: bool = True) -> Any:
        """Guard a function, as `@breaker` or `@breaker(ignore_on_call=…)`.

        With `ignore_on_call`, the same breaker's `call` of the guarded function does not guard it a second time.
        """

        def guard(func: Callable[..., Any]) -> Callable[..., Any]:
            if inspect.iscoroutinefunction(func):

                @functools.wraps(func)
                async def guarded(*args: Any, **kwargs: Any) -> Any:
                    return await self.call_async(func, *args, **kwargs)
            else:

                @functools.wraps(func)
                def guarded(*args: Any, **kwargs: Any) -> Any:
                    return self.call(func, *args, **kwargs)

            self._decorates = self._decorates or ignore_on_call
            vars(guarded)["_ignore_on_call"] = self if ignore_on_call else None
            return guarded

        if not call_args:
            return guard
        if len(call_args) == 1 and callable(call_args[0]):
            return guard(call_args[0])
        raise TypeError("a breaker decorates one function and takes no other positional argument")

    def _create_new_state(
        self, new_state: CircuitBreakerState, prev_state: object = None, notify: bool = False
    ) -> CircuitBreakerBaseState:
        return FACADES[new_state](self)

    def _command(self, state: CircuitBreakerState) -> None:
        {"OPEN": self.open, "HALF_OPEN": self.half_open, "CLOSED": self.close}[state.name]()
