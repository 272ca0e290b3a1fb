"""The shortener over a store that is a network away, guarded, with a fault proxy on that network."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from app.api import (
    IN_FORCE,
    AdminGate,
    HealthApi,
    HistoryApi,
    LinkApi,
    LinkViews,
    MetricsApi,
    PageLimits,
    ShortUrls,
    build_management,
    operations,
    problem_of,
)
from app.clicks import Journal
from app.codes import SYSTEM, CodeFactory
from app.edge import Freshness, Redirects
from app.links import FEED, LINKS, Follower, LinkRepository, LinkRunner, Resolver, link_runner
from app.service import IDEMPOTENCY, IdempotencyKeys, LinkCreator, LinkHistory, LinkManager
from astra_core.asgi import Problems, RequestIds
from astra_core.clock import SystemClock
from astra_core.errors import AstraError
from astra_core.keyed import BlockingPool
from astra_core.resilience import Deadlines, Sweep
from astra_core.storage import MemoryStore, guarded
from astra_core.testing import FaultProxy
from tests.integration.api.assembled import no_figures
from tests.integration.api.served import client_of
from tests.integration.faults.policies import DEADLINE, store_guard
from tests.integration.faults.remote_store import RemoteStore, StoreServer
from tests.integration.faults.subject import Ask, Subject
from tests.unit.app.edge.policies import as_given

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import httpx

    from astra_core.asgi import ASGIApp, Receive, Scope, Send
    from astra_core.storage import Store, StoreEngine

__all__ = ["shortener"]

_LINKS = 1_000
"""Links that are in the store and in no cache; each round takes one."""
_TTL = 0.1
_POLL = 0.02
_AWAY = frozenset({503})


@asynccontextmanager
async def shortener() -> AsyncIterator[Subject]:
    """The application: one link in its cache, many that are not, and a cache that trusts itself for 0.1 s."""
    reads, writes = store_guard("store reads"), store_guard("store writes")  # they fail apart
    async with (
        MemoryStore(collections=(LINKS, IDEMPOTENCY, SYSTEM)) as memory,
        StoreServer(memory) as server,
        FaultProxy("127.0.0.1", server.port) as proxy,
    ):
        remote = RemoteStore(proxy.host, proxy.port, deadline=DEADLINE)
        store = guarded(remote, reads=reads.policy, writes=writes.policy)
        with tempfile.TemporaryDirectory() as folder:
            async with _application(store, memory, Path(folder)) as http:
                rounds = count()

                def asks() -> Sequence[Ask]:
                    number = next(rounds) % _LINKS
                    return (
                        Ask(what="known", path="/known", well=302, ill=frozenset({302})),
                        Ask(what="uncached", path=f"/link{number}", well=302, ill=_AWAY),
                        Ask(what="unknown", path=f"/none{number}", well=404, ill=_AWAY),
                        Ask(what="create", path="/v1/links", method="POST", well=201, ill=_AWAY,
                            body={"url": "https://example.com/"}),
                    )  # fmt: skip

                yield Subject(http=http, proxy=proxy, breakers=(reads.breaker, writes.breaker), asks=asks)
        await remote.close()


@asynccontextmanager
async def _application(store: StoreEngine, behind: Store, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The parts that `compose` puts together, over a store of the test's own; links are put in behind its back."""
    clock, problems = SystemClock(), Problems(RequestIds())
    links = LinkRepository(store)
    resolver = Resolver(links, clock=clock, capacity=10_000, negative_capacity=1, ttl=_TTL)
    follower = Follower(store, resolver, name=FEED, keep=1_000, interval=_POLL, clock=clock)
    pool = BlockingPool("journal", threads=1, queue=100)
    journal = Journal(folder / "journal", segment_size=1024**2, quota=4 * 1024**2, clock=clock, pool=pool)
    codes = CodeFactory(store, clock=clock)
    await codes.open()
    await journal.open()
    await follower.open()
    gate = AdminGate(None)
    runner = link_runner(store, links, clock=clock)
    api, health = _api(store, links, runner, codes, resolver), HealthApi({}, gate=gate)
    history = HistoryApi(LinkHistory(links, runner), pages=api.pages)
    management = build_management(operations(api, history, health, MetricsApi(no_figures, gate=gate)), version="0")
    redirects = Redirects(
        management,
        resolver=resolver,
        journal=journal,
        store=store,
        problems=problems,
        clock=clock,
        freshness=Freshness(0.0),
    )
    following = asyncio.ensure_future(follower.run())
    try:
        async with client_of(_answering(redirects, problems)) as http:
            await _seed(http, behind)
            await follower.follow()  # the creation is a change, and drops what is known of the link
            assert (await http.get("/known")).status_code == 302
            yield http
    finally:
        following.cancel()
        await asyncio.wait((following,))
        await codes.close()
        await journal.close()
        await pool.close()


def _api(store: Store, links: LinkRepository, runner: LinkRunner, codes: CodeFactory, resolver: Resolver) -> LinkApi:
    clock = SystemClock()
    keys = IdempotencyKeys(store, ttl=86_400.0, clock=clock)
    return LinkApi(
        LinkCreator(store, links, codes, resolver, keys, clock=clock),
        LinkManager(store, links, runner, resolver, clock=clock),
        LinkViews(clock=clock),
        ShortUrls(base_url=None, allowed_hosts=("localhost",)),
        arrival=Deadlines("body", sweep=Sweep(clock=clock)),
        pages=PageLimits(page=50, max_page=200, max_batch=1_000),
    )


async def _seed(http: httpx.AsyncClient, behind: Store) -> None:
    """One link that is known, and those that nobody has read yet: copies of it under other codes."""
    body = {"url": "https://example.com/", "code": "known"}
    assert (await http.post("/v1/links", json=body)).status_code == 201
    stored = await LinkRepository(behind).get("known")
    assert stored is not None
    for number in range(_LINKS):
        copy = structs.replace(stored.link, code=f"link{number}")
        await behind.commit(LinkRepository(behind).creation(copy)[:1])


def _answering(app: ASGIApp, problems: Problems) -> ASGIApp:
    """Errors as problems, as the outermost layer of the edge does it."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        scope[IN_FORCE] = as_given()
        try:
            await app(scope, receive, send)
        except AstraError as error:
            problem = problem_of(error)
            if problem is None:
                raise
            await problems.respond(problem, scope)(scope, receive, send)

    return answer
