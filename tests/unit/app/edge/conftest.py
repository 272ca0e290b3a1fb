from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from app.api import Current
from app.clicks import Journal
from app.edge import CachedRedirects, Freshness, Redirects, build_edge
from app.links import LinkRepository, Resolver
from astra_core.asgi import Problems, RequestIds, Response
from astra_core.errors import CommitInDoubt, StoreUnavailable
from astra_core.middleware import AccessLogMiddleware
from astra_core.storage import Take
from astra_core.telemetry import LIBRARY, Metrics
from astra_core.testing import FakeClock
from tests.unit.app.clicks.doubles import InlinePool, crash
from tests.unit.app.edge.policies import as_given, edge_policies
from tests.unit.app.links.doubles import Store, create, link
from tests.unit.astra_core.asgi.driver import Server, call, http_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from app.edge import Drain
    from app.settings import Protection
    from astra_core.asgi import ASGIApp, Header, Receive, Scope, Send
    from astra_core.storage.writes import Write


class EdgeStore(Store):
    """Its commits can be refused, held at a gate, or not answered; it counts the visits it was asked for."""

    takes = 0
    doubts = 0
    gate: asyncio.Event | None = None

    def gate_commits(self) -> asyncio.Event:
        """Hold commits until the event that is returned is set."""
        self.gate = asyncio.Event()
        return self.gate

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Commit; of the next `doubts` nobody hears whether they happened."""
        if self.away:
            raise StoreUnavailable("away")
        if self.gate is not None:
            await self.gate.wait()
        self.takes += sum(isinstance(write, Take) for write in writes)
        results = await super().commit(writes)
        if self.doubts:
            self.doubts -= 1
            raise CommitInDoubt("no answer")
        return results


class Edge:
    """The redirect path over a store in memory and a journal on disk; what it passes on is answered 299."""

    def __init__(self, folder: Path, *, max_age: float = 0.0, capacity: int = 100) -> None:
        self.store = EdgeStore()
        self.clock = FakeClock()
        self.problems = Problems(RequestIds())
        self.resolver = Resolver(
            LinkRepository(self.store), clock=self.clock, capacity=capacity, negative_capacity=100, ttl=5.0
        )
        self.journal = Journal(folder, segment_size=4096, quota=1 << 20, clock=self.clock, pool=InlinePool())
        self.passed: list[str] = []
        self.app = self.build(max_age=max_age)

    def build(self, *, max_age: float) -> CachedRedirects:
        """Return the redirect path, from memory and through the resolver, with another setting."""
        freshness = Freshness(max_age)
        self.redirects = Redirects(
            self.management,
            resolver=self.resolver,
            journal=self.journal,
            store=self.store,
            problems=self.problems,
            clock=self.clock,
            freshness=freshness,
        )
        return CachedRedirects(self.redirects, resolver=self.resolver, journal=self.journal, freshness=freshness)

    def stack(self, drain: Drain, *, settings: Protection | None = None) -> ASGIApp:
        """Return the whole stack round the redirect path."""
        return build_edge(
            self.redirects,
            resolver=self.resolver,
            journal=self.journal,
            freshness=Freshness(0.0),
            current=Current(as_given()),
            metrics=Metrics(LIBRARY, clock=self.clock),
            access_log=AccessLogMiddleware,
            drain=drain,
            policies=edge_policies(self.clock, settings=settings),
            problems=self.problems,
        )

    async def management(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write down what came."""
        self.passed.append(scope.get("path", scope["type"]))
        if scope["type"] == "http":
            await Response(299)(scope, receive, send)

    async def create(self, code: str, **members: object) -> None:
        """Store a link."""
        await create(self.store, link(code, **members))

    async def get(
        self, path: str, *, method: str = "GET", query: bytes = b"", headers: Sequence[Header] = ()
    ) -> Server:
        """Request a path."""
        return await call(self.app, http_scope(path, method=method, query=query, headers=headers))

    async def remaining(self, code: str) -> int:
        """Return the visits left."""
        return (await self.store.counts("remaining", [code]))[code]


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """Return an edge, opened, with `abc` as a link."""
    edge = Edge(tmp_path / "journal")
    await edge.store.open()
    await edge.journal.open()
    await edge.create("abc")
    yield edge
    crash(edge.journal)
