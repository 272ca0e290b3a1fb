"""The composition root: settings in, one application out. Every object is made here and handed what it needs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.api import (
    AdminGate,
    BodyLimits,
    HealthApi,
    LinkApi,
    LinkViews,
    MetricsApi,
    PageLimits,
    ShortUrls,
    build_management,
    operations,
)
from app.clicks import ClickCounter, Journal
from app.codes import SYSTEM, CodeFactory
from app.domain import own_places
from app.edge import Drain, Redirects, build_edge
from app.links import FEED, LINKS, Follower, LinkRepository, Resolver
from app.main.application import Application
from app.main.background import Background
from app.main.dependencies import dependencies, probe_reads, probe_writes
from app.main.policies import PolicyFactory, log_breakers
from app.service import IDEMPOTENCY, IdempotencyKeys, LinkCreator, LinkManager, LinkRules
from astra_core import __version__
from astra_core.asgi import Problems, RequestIds
from astra_core.clock import SystemClock
from astra_core.events import Listeners
from astra_core.keyed import BlockingPool
from astra_core.resilience import DeadlineParameters, Sweep
from astra_core.sqlite import Limits
from astra_core.storage import guarded, store_from_url

if TYPE_CHECKING:
    from app.settings import Settings
    from astra_core.clock import Clock
    from astra_core.storage import StoreEngine

__all__ = ["compose", "compose_store"]

_QUEUE = 1_000
"""Calls that may wait for a thread of a pool; the store bounds its own writes before that."""


def compose(settings: Settings, *, clock: Clock | None = None) -> Application:
    """Build the whole application. Nothing is opened or started before its lifespan."""
    clock = clock or SystemClock()
    ids = RequestIds()
    problems = Problems(ids)
    drain = Drain()

    background = Background()
    policies = PolicyFactory(
        sweep=Sweep(clock=clock), clock=clock, listeners=Listeners(log_breakers), spawn=background.spawn
    )

    engine, pools = compose_store(settings, clock)
    # Reads and writes fail apart: a disk that is full still answers, so each has its own breaker.
    reads = policies.store(
        "store reads", settings.store.reads, deadline=settings.store.read_deadline, probe=partial(probe_reads, engine)
    )
    writes = policies.store(
        "store writes",
        settings.store.writes,
        deadline=settings.store.write_deadline,
        probe=partial(probe_writes, engine),
    )
    store = guarded(engine, reads=reads, writes=writes)
    links = LinkRepository(store)
    codes = CodeFactory(
        store, region=settings.codes.region, block=settings.codes.block, key=_key(settings), clock=clock
    )

    resolver = Resolver(
        links,
        clock=clock,
        capacity=settings.cache.entries,
        negative_capacity=settings.cache.negative_entries,
        ttl=settings.cache.ttl,
    )
    follower = Follower(store, resolver, name=FEED, keep=settings.store.changes_kept, clock=clock)

    journal_pool = BlockingPool("journal", threads=1, queue=_QUEUE, clock=clock)
    journal = Journal(
        Path(settings.clicks.journal),
        segment_size=settings.clicks.segment_size,
        quota=settings.clicks.quota,
        clock=clock,
        pool=journal_pool,
    )
    counter = ClickCounter(journal, store, clock=clock)

    rules = _rules(settings)
    keys = IdempotencyKeys(store, ttl=settings.links.idempotency_ttl, clock=clock)
    creator = LinkCreator(store, links, codes, resolver, keys, rules=rules, clock=clock)
    manager = LinkManager(store, links, resolver, rules=rules, clock=clock)

    link_api = LinkApi(
        creator,
        manager,
        LinkViews(clock=clock),
        ShortUrls(base_url=settings.links.base_url, allowed_hosts=settings.links.allowed_hosts),
        bodies=BodyLimits(
            body=settings.server.max_body,
            batch_body=settings.server.max_batch_body,
            arrival=policies.deadlines("body", DeadlineParameters(budget=settings.server.body_timeout)),
        ),
        pages=PageLimits(
            page=settings.links.page_size,
            max_page=settings.links.max_page_size,
            max_batch=settings.links.max_batch,
        ),
    )
    gate = AdminGate(settings.server.admin_token)
    health = HealthApi(
        dependencies(store, (reads, writes), follower, resolver, journal, counter, clock=clock), gate=gate
    )
    metrics_api = MetricsApi(_render, gate=gate)
    management = build_management(operations(link_api, health, metrics_api), version=__version__)
    redirects = Redirects(
        management,
        resolver=resolver,
        journal=journal,
        store=store,
        problems=problems,
        clock=clock,
        max_age=settings.cache.max_age,
    )

    edge = build_edge(
        redirects,
        resolver=resolver,
        journal=journal,
        drain=drain,
        policies=policies.edge(settings.http, routes=management.routes, ids=ids),
        problems=problems,
    )

    return Application(
        edge,
        settings=settings,
        store=store,
        codes=codes,
        follower=follower,
        journal=journal,
        counter=counter,
        keys=keys,
        drain=drain,
        health=health,
        background=background,
        pools=(*pools, journal_pool),
        clock=clock,
    )


def compose_store(settings: Settings, clock: Clock) -> tuple[StoreEngine, tuple[BlockingPool, ...]]:
    """Build the store, and the pools of threads that it blocks in."""
    writer = BlockingPool("store-writer", threads=1, queue=_QUEUE, clock=clock)
    readers = BlockingPool("store-reader", threads=settings.store.readers, queue=_QUEUE, clock=clock)
    limits = Limits(
        deadline=settings.store.write_deadline,
        queue=settings.store.write_queue,
        group=settings.store.group_size,
        read=settings.store.read_deadline,
    )
    collections = (LINKS, IDEMPOTENCY, SYSTEM)
    store = store_from_url(
        settings.store.url, collections=collections, writer=writer, readers=readers, limits=limits, clock=clock
    )
    return store, (writer, readers)


def _key(settings: Settings) -> bytes | None:
    return None if settings.codes.key is None else bytes.fromhex(settings.codes.key.reveal())


def _rules(settings: Settings) -> LinkRules:
    hosts = settings.links.allowed_hosts
    own = [*hosts, *(f"{host}:{settings.server.port}" for host in hosts)]
    if settings.links.base_url is not None:
        own.append(settings.links.base_url)
    return LinkRules(
        own_hosts=own_places(own),
        allow_credentials=settings.links.allow_credentials,
        max_url=settings.links.max_url,
        redirect_status=settings.links.redirect_status,
    )


async def _render(accept: str) -> tuple[str, bytes]:
    return "text/plain", b""
