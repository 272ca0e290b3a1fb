"""An application behind a `BreakerMiddleware`, on a clock that a test moves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from astra_core.middleware import BreakerMiddleware
from astra_core.resilience import BreakerParameters, BreakerState, CircuitBreaker, Deadlines, Sweep
from astra_core.testing import FakeClock
from tests.unit.astra_core.middleware.client import Client, answering

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["Guarded", "by_path"]


def by_path(scope: Scope) -> str | None:
    """The path as key; none for `/free`."""
    path: str = scope["path"]
    return None if path == "/free" else path


class Guarded:
    """A breaker that opens at the second failure in a row, for each path; the inside is replaced as a test goes on."""

    def __init__(
        self, inside: ASGIApp | None = None, *, parameters: BreakerParameters | None = None, **options: Any
    ) -> None:
        self.clock = FakeClock()
        self.sweep = Sweep(clock=self.clock)
        self.deadlines = Deadlines("request", sweep=self.sweep)
        self.inside: ASGIApp = inside or answering()
        self.runs = 0
        self._parameters = parameters or BreakerParameters.consecutive(2, open_for=10.0)
        self.app = BreakerMiddleware(self.run, breaker=self.make, key=by_path, clock=self.clock, **options)

    def make(self, key: str) -> CircuitBreaker:
        """Make a breaker."""
        return CircuitBreaker(name=key, parameters=self._parameters, clock=self.clock)

    @property
    def breaker(self) -> CircuitBreaker:
        """That of the path `/`."""
        return self.app.breakers["/"]

    def state(self) -> BreakerState:
        """The state of that breaker."""
        return self.breaker.circuit_state

    @property
    def calls(self) -> tuple[int, int]:
        """Calls counted, and failures in a row."""
        now = self.breaker.snapshot()
        return now.calls, now.consecutive_failures

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run what is inside now."""
        self.runs += 1
        await self.inside(scope, receive, send)

    async def ask(self, app: ASGIApp | None = None, path: str = "/", **scope: Any) -> int:
        """The status of one request; 0 when it raised or was cancelled without an answer."""
        client = Client()
        task = client.begin(app or self.app, path, **scope)
        await self.clock.run_for(20)
        await asyncio.wait([task])
        return client.status
