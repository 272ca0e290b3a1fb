"""Retries of the store's policy and of the request, one inside the other, as the default settings have them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.edge import TrustedProxies
from app.main.policies import STORE
from app.settings import Breaker, Protection, Safeguards, Settings, Store
from astra_core.asgi import RequestIds
from astra_core.errors import StoreUnavailable
from astra_core.middleware import RetryMiddleware
from astra_core.testing import FakeClock
from tests.unit.app.edge.policies import policy_factory
from tests.unit.astra_core.asgi.driver import Server, http_scope

if TYPE_CHECKING:
    from astra_core.asgi import Receive, Scope, Send

SECONDS, A_SECOND = 20, 100
SHUT = Breaker(minimum_calls=100_000)
"""One that never opens: what is left is what budgets alone allow."""


async def test_together_they_stay_within_both_budgets() -> None:
    """A store that fails all the time sees at most a fifth more of a fifth more calls, and what the floors allow."""
    clock, calls = FakeClock(), 0
    settings = Settings(store=Store(reads=Safeguards(breaker=SHUT)), http=Protection(breaker=SHUT))
    factory = policy_factory(clock, settings)
    policy = factory.dependency(
        "reads", STORE, pick=lambda s: s.store.reads, deadline=lambda s: s.store.read_deadline, probe=_never
    ).idempotent

    async def read() -> None:
        nonlocal calls
        calls += 1
        raise StoreUnavailable("away")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await policy.call(read)

    edge = factory.edge(routes=(), ids=RequestIds(), trusted=TrustedProxies(()))
    stack = RetryMiddleware(app, retry=edge.retry, statuses=frozenset(), clock=clock)
    requests = []
    for _ in range(SECONDS * A_SECOND):
        server = Server()
        requests.append(asyncio.create_task(_failing(stack(http_scope("/v1/links"), server.receive, server.send))))
        await clock.run_for(1 / A_SECOND)
    await clock.run_for(5.0)
    assert await asyncio.gather(*requests) == [True] * len(requests)
    floors = (SECONDS + 1) * settings.http.retry.budget_floor
    tries = len(requests) * 1.2 + floors
    assert len(requests) * 1.2 < calls <= tries * 1.2 + floors


async def _failing(request: object) -> bool:
    try:
        await request  # type: ignore[misc]
    except StoreUnavailable:
        return True
    return False


async def _never() -> None:
    raise AssertionError("nothing here probes")
