"""All layers in one stack, on a clock that a test moves, and requests that do as they are told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from astra_core.errors import StoreUnavailable
from astra_core.middleware import (
    BreakerMiddleware,
    DeadlineMiddleware,
    DisconnectMiddleware,
    LimiterMiddleware,
    RequestIdMiddleware,
    RetryMiddleware,
)
from astra_core.resilience import (
    BreakerParameters,
    CircuitBreaker,
    Constant,
    DeadlineParameters,
    Deadlines,
    KeyedLimiter,
    Limiter,
    LimiterParameters,
    RetryBudget,
    RetryParameters,
    RetryPolicy,
    Sweep,
    current_deadline,
)
from astra_core.testing import FakeClock
from tests.unit.astra_core.asgi.recorders import Foreign
from tests.unit.astra_core.middleware.client import Client, answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from astra_core.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["Told", "World"]


@dataclass(frozen=True)
class Told:
    """A request: when it begins, what the application does with it, and what its client does. Times in seconds."""

    begins: float = 0.0
    method: str = "GET"
    works: float = 0.1
    ends: str = "200"
    """A status, `error`, `bug`, `half` an answer, `cancelled`, or `read` a body that never comes whole."""
    leaves: float | None = None
    cancelled: float | None = None
    asked: int | None = None
    """Milliseconds in its deadline header."""


async def application(scope: Scope, receive: Receive, send: Send, *, clock: FakeClock) -> None:
    """Do as the request says."""
    told: Told = scope["told"]
    await clock.sleep(told.works)
    if told.ends == "read":
        while (await receive()).get("more_body"):
            pass
        await answering()(scope, receive, send)
    elif told.ends == "half":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ConnectionResetError
    elif told.ends == "cancelled":
        raise asyncio.CancelledError
    elif told.ends in {"error", "bug"}:
        raise (StoreUnavailable("away", retry_after=0.0) if told.ends == "error" else KeyError())
    else:
        await answering(int(told.ends))(scope, receive, send)


class World:
    """The stack, with a foreign middleware in front of the layers whose places are in `apart`."""

    def __init__(
        self, *, apart: Iterable[int] = (), statuses: frozenset[int] = frozenset(), core: ASGIApp | None = None
    ) -> None:
        self.clock = FakeClock()
        self.sweep = Sweep(clock=self.clock)
        self.limiter = Limiter(
            "edge", sweep=self.sweep, parameters=LimiterParameters(limit=2, queue=1, timeout=0.5)
        )  # fmt: skip
        self.per_client = KeyedLimiter("client", limit=3)
        self.breaker = CircuitBreaker(
            name="route", clock=self.clock, random=Random(7),
            parameters=BreakerParameters.consecutive(3, open_for=2.0),
        )  # fmt: skip
        self.budget = RetryBudget(clock=self.clock)
        self.retry = RetryPolicy(
            "edge", sweep=self.sweep, budget=self.budget, random=Random(7),
            parameters=RetryParameters(attempts=2, backoff=Constant(0.2)),
        )  # fmt: skip
        app: ASGIApp = core or partial(application, clock=self.clock)
        for place, layer in reversed(list(enumerate(self.layers(statuses)))):
            app = layer(app)
            if place in apart:
                app = Foreign(app)
        self.app = app

    def layers(self, statuses: frozenset[int]) -> list[Callable[[ASGIApp], Any]]:
        """The layers, outermost first."""
        deadlines = Deadlines("request", sweep=self.sweep, parameters=DeadlineParameters(budget=3.0, floor=0.1))
        return [
            RequestIdMiddleware,
            partial(DeadlineMiddleware, deadlines=deadlines, trusted=lambda scope: True),
            partial(
                LimiterMiddleware, limiter=self.limiter, per_client=self.per_client,
                client=lambda scope: scope["client"], clock=self.clock,
            ),
            partial(DisconnectMiddleware, sweep=self.sweep, after=0.1),
            partial(RetryMiddleware, retry=self.retry, statuses=statuses, clock=self.clock),
            partial(BreakerMiddleware, breaker=lambda _: self.breaker, key=lambda _: "route", clock=self.clock),
        ]  # fmt: skip

    async def play(self, requests: Iterable[Told]) -> list[tuple[Any, ...]]:
        """Let them all happen; returns what each client got and what its task ended with."""
        played = [asyncio.ensure_future(self._one(told)) for told in requests]
        await self.clock.run_for(30)
        assert all(task.done() for task in played)
        return [task.result() for task in played]

    async def _one(self, told: Told) -> tuple[Any, ...]:
        await self.clock.sleep(told.begins)
        client = Client(b"a", b"b", hold=1) if told.ends == "read" else Client()
        headers = [(b"x-request-deadline", b"%d" % told.asked)] if told.asked is not None else []
        task = client.begin(self.app, method=told.method, headers=headers, told=told)
        timers = [
            asyncio.ensure_future(self._later(when, act))
            for when, act in ((told.leaves, client.leave), (told.cancelled, task.cancel))
            if when is not None
        ]
        await asyncio.wait([task])
        for timer in timers:
            timer.cancel()
        error = None if task.cancelled() else task.exception()
        types = [(message["type"], message.get("status")) for message in client.sent]
        return types, task.cancelled(), type(error), self.clock.monotonic()

    async def _later(self, seconds: float, act: Callable[[], object]) -> None:
        await self.clock.sleep(seconds)
        act()

    def counts(self) -> tuple[Any, ...]:
        """What the policies have counted."""
        now = self.breaker.snapshot()
        return now.calls, now.consecutive_failures, now.state, now.generation, self.budget.balance

    def check_idle(self) -> None:
        """Nobody holds a permit, waits for one or is watched, and no deadline is in force."""
        assert (self.limiter.in_use, self.limiter.waiting, len(self.per_client), len(self.sweep)) == (0, 0, 0, 0)
        assert self.breaker._circuit._probes == []
        assert current_deadline() is None
