"""The composition root: settings in, one application out. Every object is made here and handed what it needs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.api import (
    AdminGate,
    Current,
    HealthApi,
    HistoryApi,
    ImportApi,
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
from app.domain import LIFE
from app.edge import Drain, Freshness, Redirects, TrustedProxies, build_edge
from app.imports import IMPORTS
from app.links import FEED, LINKS, Follower, LinkRepository, Resolver, link_runner
from app.main.application import Application
from app.main.background import Background
from app.main.dependencies import dependencies, probe_reads, probe_writes
from app.main.embedding import compose_import_service
from app.main.folders import compose_folders
from app.main.following import (
    follow_clicks,
    follow_links,
    follow_requests,
    follow_store,
    rules_in_force,
    store_limits,
)
from app.main.leading import announced, compose_leader
from app.main.live import Live
from app.main.policies import STORE, PolicyFactory
from app.main.reloading import compose_reloading
from app.main.telemetry import compose_telemetry
from app.service import IDEMPOTENCY, IdempotencyKeys, LinkCreator, LinkHistory, LinkManager
from astra_core import __version__
from astra_core.asgi import Problems, RequestIds
from astra_core.clock import SystemClock
from astra_core.keyed import BlockingPool
from astra_core.resilience import DeadlineParameters, Sweep
from astra_core.storage import guarded, observed, store_from_url
from astra_core.workflow import REFUSED

if TYPE_CHECKING:
    from app.main.reloading import Sources
    from app.settings import Settings
    from astra_core.clock import Clock
    from astra_core.config import Loaded
    from astra_core.events import Listeners
    from astra_core.sqlite import Limits
    from astra_core.storage import StoreEngine
    from astra_core.telemetry import Logs

__all__ = ["compose", "compose_codes", "compose_store"]

_QUEUE = 1_000
"""Calls that may wait for the one thread of a pool whose caller is one too: a writer, a journal, a reloader."""
_READ_DEADLINE = 10.0
"""Seconds in which settings, or other workers' figures, must have been read: a folder of a network may hang."""


def compose(
    loaded: Loaded[Settings],
    *,
    sources: Sources | None = None,
    logs: Logs | None = None,
    clock: Clock | None = None,
) -> Application:
    """Build the whole application. Nothing is opened or started before its lifespan.

    With `sources` the settings are read again while it runs; `logs` is the set-up of logging, if that is ours.
    """
    clock = clock or SystemClock()
    settings = loaded.settings
    live = Live(settings)
    trusted = TrustedProxies(settings.http.trusted_proxies)
    ids = RequestIds(trusted=trusted or None)
    problems = Problems(ids)
    drain = Drain()
    background = Background()

    files = BlockingPool("files", threads=1, queue=_QUEUE, clock=clock)  # without listeners: it serves telemetry itself
    read_files = partial(files.run, deadline=_READ_DEADLINE)
    telemetry = compose_telemetry(loaded, live, logs=logs, run=read_files, clock=clock)
    instruments, listeners = telemetry.instruments, telemetry.listeners
    policies = PolicyFactory(
        sweep=Sweep(clock=clock),
        clock=clock,
        listeners=listeners,
        spawn=background.spawn,
        instruments=instruments,
        live=live,
    )

    engine, pools = compose_store(settings, clock, listeners=listeners)
    # Reads and writes fail apart: a disk that is full still answers, so each has its own breaker.
    reads = policies.dependency(
        "store reads",
        STORE,
        pick=lambda s: s.store.reads,
        deadline=lambda s: s.store.read_deadline,
        probe=partial(probe_reads, engine),
    )
    writes = policies.dependency(
        "store writes",
        STORE,
        pick=lambda s: s.store.writes,
        deadline=lambda s: s.store.write_deadline,
        probe=partial(probe_writes, engine),
    )
    tried = observed(engine, name=settings.store.engine, listener=listeners, clock=clock)
    store = guarded(tried, reads=reads, writes=writes)
    codes = compose_codes(settings, store, clock=clock)
    links = LinkRepository(store, keys=codes, announce=announced(settings))
    folders = compose_folders(settings, run=read_files)

    resolver = Resolver(
        links,
        clock=clock,
        capacity=settings.cache.entries,
        negative_capacity=settings.cache.negative_entries,
        ttl=settings.cache.ttl,
    )
    follower = Follower(
        store,
        resolver,
        name=FEED,
        keep=settings.store.changes_kept,
        interval=settings.cache.poll_interval,
        clock=clock,
    )

    journal_pool = BlockingPool("journal", threads=1, queue=_QUEUE, clock=clock, listeners=listeners)
    journal = Journal(
        Path(settings.clicks.journal),
        segment_size=settings.clicks.segment_size,
        quota=settings.clicks.quota,
        sync_interval=settings.clicks.sync_interval,
        clock=clock,
        pool=journal_pool,
    )
    counter = ClickCounter(
        journal,
        store,
        interval=settings.clicks.apply_interval,
        adopt_interval=settings.clicks.adopt_interval,
        clock=clock,
        span=telemetry.counting,
    )

    keys = IdempotencyKeys(store, ttl=settings.links.idempotency_ttl, clock=clock)
    creator = LinkCreator(store, links, codes, resolver, keys, clock=clock, applied=follower.applied)
    runner = link_runner(store, links, announce=announced(settings), clock=clock, listeners=listeners)
    manager = LinkManager(store, links, runner, resolver, clock=clock)
    leader = compose_leader(settings, store, links, runner, policies=policies, clock=clock, listeners=listeners)

    short_urls = ShortUrls(base_url=settings.links.base_url, allowed_hosts=settings.links.allowed_hosts)
    pages = PageLimits(
        page=settings.links.page_size,
        max_page=settings.links.max_page_size,
        max_batch=settings.links.max_batch,
    )
    link_api = LinkApi(
        creator,
        manager,
        LinkViews(clock=clock),
        short_urls,
        arrival=policies.deadlines("body", lambda s: DeadlineParameters(budget=s.server.body_timeout)),
        pages=pages,
    )
    history_api = HistoryApi(LinkHistory(links, runner), pages=link_api.pages)
    current = Current(rules_in_force(settings))
    import_pool = BlockingPool("imports", threads=1, queue=_QUEUE, clock=clock, listeners=listeners)
    imports = compose_import_service(
        settings,
        store,
        codes,
        live,
        current,
        policies=policies,
        shared=sources is not None,
        run=import_pool.run,
        clock=clock,
    )
    import_api = ImportApi(imports.imports, short_urls, pages=pages, wake=imports.wake)
    freshness = Freshness(settings.cache.max_age)
    gate = AdminGate(settings.server.admin_token)
    reloading = compose_reloading(
        loaded, sources, live, spawn=background.spawn, run=read_files, listeners=listeners, clock=clock
    )
    looks = dependencies(store, (reads, writes), follower, resolver, journal, counter, leader, reloading)
    health = HealthApi(looks, gate=gate)
    metrics_api = MetricsApi(telemetry.metrics.render, gate=gate)
    table = operations(link_api, history_api, health, metrics_api, import_api)
    management = build_management(table, version=__version__)
    redirects = Redirects(
        management,
        resolver=resolver,
        journal=journal,
        store=store,
        problems=problems,
        clock=clock,
        freshness=freshness,
    )

    edge = build_edge(
        redirects,
        resolver=resolver,
        journal=journal,
        freshness=freshness,
        current=current,
        drain=drain,
        policies=policies.edge(routes=management.routes, ids=ids, trusted=trusted),
        metrics=telemetry.metrics,
        access_log=partial(telemetry.access_log, name=ids.of),
        tracing=telemetry.tracing_gate,
        trace_scope=telemetry.trace_scope,
        problems=problems,
    )

    follow_store(live, engine, follower)
    follow_links(live, resolver, keys)
    follow_clicks(live, journal, counter)
    follow_requests(live, current, freshness)
    instruments.links(resolver, follower, codes, creator)
    instruments.clicks(journal, counter)
    instruments.imports(imports.imports, imports.importer)
    if imports.embedded is not None:
        instruments.import_worker(imports.embedded)
    instruments.drain(drain)
    instruments.leader(leader)
    if reloading is not None:
        instruments.settings(reloading.reloader)
    instruments.pools((*pools, *leader.pools, journal_pool, import_pool, files))

    return Application(
        edge,
        settings=settings,
        store=store,
        codes=codes,
        folders=folders,
        resolver=resolver,
        follower=follower,
        journal=journal,
        counter=counter,
        keys=keys,
        leader=leader,
        drain=drain,
        health=health,
        background=background,
        pools=(*pools, *leader.pools, journal_pool, import_pool, files),
        imports=imports,
        telemetry=telemetry,
        live=live,
        reloading=reloading,
        clock=clock,
    )


def compose_store(
    settings: Settings, clock: Clock, *, listeners: Listeners | None = None, limits: Limits | None = None
) -> tuple[StoreEngine, tuple[BlockingPool, ...]]:
    """Build the store, within the settings' `limits` unless others are given, and the threads that it blocks in."""
    writer = BlockingPool("store-writer", threads=1, queue=_QUEUE, clock=clock, listeners=listeners)
    readers = BlockingPool(
        "store-reader",
        threads=settings.store.readers,
        queue=settings.store.read_queue,
        clock=clock,
        listeners=listeners,
    )
    store = store_from_url(
        settings.store.url,
        collections=(LINKS, LIFE.seen, REFUSED, IDEMPOTENCY, SYSTEM, *IMPORTS),
        writer=writer,
        readers=readers,
        limits=limits or store_limits(settings),
        clock=clock,
        listeners=listeners,
    )
    return store, (writer, readers)


def compose_codes(settings: Settings, store: StoreEngine, *, clock: Clock) -> CodeFactory:
    """Build what gives out codes."""
    key = None if settings.codes.key is None else bytes.fromhex(settings.codes.key.reveal())
    return CodeFactory(store, region=settings.codes.region, block=settings.codes.block, key=key, clock=clock)
