"""The application over a store of the test's own: what `compose` builds, without what runs beside the requests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.api import (
    AdminGate,
    Current,
    HealthApi,
    HistoryApi,
    LinkApi,
    LinkViews,
    MetricsApi,
    PageLimits,
    ShortUrls,
    build_management,
    operations,
)
from app.clicks import Journal
from app.codes import SYSTEM, CodeFactory
from app.edge import Drain, Freshness, Redirects, build_edge
from app.links import LINKS, LinkRepository, Resolver, link_runner
from app.service import IDEMPOTENCY, IdempotencyKeys, LinkCreator, LinkHistory, LinkManager
from astra_core.asgi import Problems, RequestIds
from astra_core.errors import StoreUnavailable
from astra_core.keyed import BlockingPool
from astra_core.middleware import AccessLogMiddleware
from astra_core.resilience import Deadlines, Sweep
from astra_core.storage import MemoryStore
from astra_core.telemetry import LIBRARY, Metrics
from astra_core.testing import FakeClock
from tests.integration.api.served import Served, client_of
from tests.unit.app.edge.policies import as_given, edge_policies

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from astra_core.storage import Page, Query, Record
    from astra_core.storage.writes import Write

__all__ = ["Assembled", "FaultyStore", "assemble", "no_figures"]


class FaultyStore(MemoryStore):
    """A store that can be away, go with the next commit, refuse its commits, break, or hold commits back at a gate."""

    def __init__(self) -> None:
        super().__init__(collections=(LINKS, IDEMPOTENCY, SYSTEM))
        self.away = False
        self.going = False
        self.full = False
        self.broken = False
        self.gate: asyncio.Event | None = None
        self.commits: list[tuple[Write, ...]] = []

    def _look(self) -> None:
        if self.broken:
            raise RuntimeError("a mistake of ours")
        if self.away:
            raise StoreUnavailable("away", retry_after=7.2)

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Commit, unless away or full."""
        self.commits.append(tuple(writes))
        if self.gate is not None:
            await self.gate.wait()
        self._look()
        if self.full:
            raise StoreUnavailable("the disk is full", retry_after=3)
        numbers = await super().commit(writes)
        self.away = self.going
        return numbers

    async def get(self, collection: str, key: str) -> Record | None:
        """Read, unless away."""
        self._look()
        return await super().get(collection, key)

    async def find(self, query: Query) -> Page:
        """Find, unless away."""
        self._look()
        return await super().find(query)

    async def counts(self, counters: str, keys: Sequence[str]) -> Mapping[str, int]:
        """Count, unless away."""
        self._look()
        return await super().counts(counters, keys)


@dataclass(frozen=True)
class Assembled(Served):
    """A served application with the parts that a test reaches into."""

    store: FaultyStore
    keys: IdempotencyKeys
    resolver: Resolver
    clock: FakeClock = field(repr=False)


async def no_figures(accept: str) -> tuple[str, bytes]:
    """Stand where the metrics are rendered."""
    return "text/plain", b""


@asynccontextmanager
async def assemble(folder: Path, *, block: int = 1_000) -> AsyncIterator[Assembled]:
    """Build and open it; `block` codes are at hand at a time."""
    clock, store, problems = FakeClock(), FaultyStore(), Problems(RequestIds())
    codes = CodeFactory(store, block=block, clock=clock)
    links = LinkRepository(store, keys=codes)
    resolver = Resolver(links, clock=clock, capacity=100, negative_capacity=100, ttl=5.0)
    keys = IdempotencyKeys(store, ttl=86_400.0, clock=clock)
    runner = link_runner(store, links, clock=clock)
    api = LinkApi(
        LinkCreator(store, links, codes, resolver, keys, clock=clock),
        LinkManager(store, links, runner, resolver, clock=clock),
        LinkViews(clock=clock),
        ShortUrls(base_url=None, allowed_hosts=("localhost",)),
        arrival=Deadlines("body", sweep=Sweep(clock=clock)),
        pages=PageLimits(page=50, max_page=200, max_batch=1_000),
    )
    pool = BlockingPool("journal", threads=1, queue=10)
    journal = Journal(folder / "journal", segment_size=64 * 1024, quota=2**20, clock=clock, pool=pool)
    gate = AdminGate(None)
    history = HistoryApi(LinkHistory(links, runner), pages=api.pages)
    table = operations(api, history, HealthApi({}, gate=gate), MetricsApi(no_figures, gate=gate))
    management = build_management(table, version="0")
    redirects = Redirects(
        management,
        resolver=resolver,
        journal=journal,
        store=store,
        problems=problems,
        clock=clock,
        freshness=Freshness(0.0),
    )
    await store.open()
    await codes.open()
    await journal.open()
    try:
        edge = build_edge(
            redirects,
            resolver=resolver,
            journal=journal,
            freshness=Freshness(0.0),
            current=Current(as_given()),
            metrics=Metrics(LIBRARY, clock=clock),
            access_log=AccessLogMiddleware,
            drain=Drain(),
            policies=edge_policies(clock, routes=management.routes),
            problems=problems,
        )
        async with client_of(edge) as http:
            yield Assembled(http, store, keys, resolver, clock)
    finally:
        store.away = store.going = store.full = store.broken = False
        await codes.close()
        await journal.close()
        await pool.close()
        await store.close()
