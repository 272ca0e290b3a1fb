"""Calls through a breaker that a test steps by hand: no event loop, no waiting, every order of events possible."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import TYPE_CHECKING, Any

from astra_core.errors import AstraError
from astra_core.resilience.breaker import BreakerOpen, BreakerParameters, CircuitBreaker
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Boom", "Call", "Driver", "Log"]


class Boom(AstraError):  # noqa: N818
    """What a failing dependency raises."""


class Log:
    """A listener of our events that remembers them."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: object, /) -> None:
        """Remember it."""
        self.events.append(event)

    def named(self, name: str) -> list[Any]:
        """Those of one class."""
        return [event for event in self.events if type(event).__name__ == name]


class _Pause:
    """Suspends until the test says how it goes on."""

    def __await__(self) -> Generator[None, Any, Any]:
        outcome = yield
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


async def _work() -> Any:
    return await _Pause()


class Call:
    """A call under way; raises `BreakerOpen` when the breaker does not let it."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._coroutine = breaker.call(_work)
        self._coroutine.send(None)

    def end(self, outcome: object = "done") -> Any:
        """Let the call return `outcome`, or raise it if it is an error."""
        try:
            self._coroutine.send(outcome)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("the call went on")

    def cancel(self) -> None:
        """Cancel the call, as an event loop does."""
        try:
            self._coroutine.throw(asyncio.CancelledError())
        except asyncio.CancelledError:
            return
        raise AssertionError("the cancellation was swallowed")


class Driver:
    """A breaker on a clock of its own, and short words for what tests do with it."""

    def __init__(self, parameters: BreakerParameters | None = None, **options: Any) -> None:
        self.clock = FakeClock()
        self.log = Log()
        defaults: dict[str, Any] = {"name": "store", "clock": self.clock, "random": Random(7), "events": self.log}
        self.breaker = CircuitBreaker(parameters=parameters or BreakerParameters(), **defaults | options)

    @property
    def state(self) -> str:
        """The breaker's state."""
        return self.breaker.circuit_state.value

    def call(self) -> Call:
        """Begin a call."""
        return Call(self.breaker)

    def good(self, times: int = 1) -> None:
        """Calls that succeed at once."""
        for _ in range(times):
            self.call().end()

    def bad(self, times: int = 1) -> None:
        """Calls that fail at once, the one that opens the breaker included."""
        for _ in range(times):
            call = self.call()
            with contextlib.suppress(Boom, BreakerOpen):
                call.end(Boom())

    def slow(self, seconds: float, times: int = 1) -> None:
        """Calls that succeed after `seconds`, one after the other."""
        for _ in range(times):
            call = self.call()
            self.clock.advance(seconds)
            call.end()

    def refused(self, times: int = 1) -> int:
        """How many of so many calls the breaker refuses; those it lets pass succeed at once."""
        count = 0
        for _ in range(times):
            try:
                self.good()
            except BreakerOpen:
                count += 1
        return count
