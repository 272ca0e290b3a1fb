"""Which keys reach which object while the process runs; those of policies are followed where policies are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.api import BodyLimits, InForce
from app.domain import own_places
from app.service import LinkRules
from astra_core.sqlite import Limits
from astra_core.storage import limit_store

if TYPE_CHECKING:
    from app.api import Current
    from app.clicks import ClickCounter, Journal
    from app.edge import Freshness
    from app.links import Follower, Resolver
    from app.main.live import Live
    from app.service import IdempotencyKeys, ImportManager
    from app.settings import Settings
    from astra_core.storage import StoreEngine

__all__ = [
    "follow_clicks",
    "follow_imports",
    "follow_links",
    "follow_requests",
    "follow_store",
    "rules_in_force",
    "store_limits",
]


def follow_store(live: Live, engine: StoreEngine, follower: Follower) -> None:
    """The engine's own bounds, and the changes feed."""
    live.follow(store_limits, lambda limits: limit_store(engine, limits))
    live.attribute(follower, "keep", lambda s: s.store.changes_kept)
    live.attribute(follower, "interval", lambda s: s.cache.poll_interval)


def follow_links(live: Live, resolver: Resolver, keys: IdempotencyKeys) -> None:
    """What is kept in memory, and for how long."""
    live.attribute(resolver, "ttl", lambda s: s.cache.ttl)
    live.attribute(resolver.entries, "capacity", lambda s: s.cache.entries)
    live.attribute(resolver.unknowns, "capacity", lambda s: s.cache.negative_entries)
    live.attribute(keys, "ttl", lambda s: s.links.idempotency_ttl)


def follow_clicks(live: Live, journal: Journal, counter: ClickCounter) -> None:
    """The journal and its counting."""
    live.attribute(journal, "quota", lambda s: s.clicks.quota)
    live.attribute(journal, "sync_interval", lambda s: s.clicks.sync_interval)
    live.attribute(counter, "interval", lambda s: s.clicks.apply_interval)
    live.attribute(counter, "adopt_interval", lambda s: s.clicks.adopt_interval)


def follow_imports(live: Live, imports: ImportManager) -> None:
    """What the folder of imports takes, and for how long."""
    spool = imports.spool
    live.attribute(imports, "keep", lambda s: s.imports.keep)
    live.attribute(spool, "largest", lambda s: s.imports.max_file)
    live.attribute(spool, "quota", lambda s: s.imports.quota)
    live.attribute(spool, "uploads", lambda s: s.imports.uploads)
    live.attribute(spool, "patience", lambda s: s.imports.patience)
    live.attribute(spool, "least_rate", lambda s: s.imports.least_rate)


def follow_requests(live: Live, current: Current, freshness: Freshness) -> None:
    """What each request goes by."""
    live.follow(rules_in_force, current.take)
    live.follow(lambda s: s.cache.max_age, freshness.take)


def rules_in_force(settings: Settings) -> InForce:
    """Return what a request goes by from its start to its end."""
    hosts = settings.links.allowed_hosts
    own = [*hosts, *(f"{host}:{settings.server.port}" for host in hosts)]
    if settings.links.base_url is not None:
        own.append(settings.links.base_url)
    rules = LinkRules(
        own_hosts=own_places(own),
        allow_credentials=settings.links.allow_credentials,
        max_url=settings.links.max_url,
        redirect_status=settings.links.redirect_status,
    )
    bodies = BodyLimits(body=settings.server.max_body, batch_body=settings.server.max_batch_body)
    return InForce(rules=rules, bodies=bodies)


def store_limits(settings: Settings) -> Limits:
    """Return the bounds that the engine keeps by itself."""
    return Limits(
        deadline=settings.store.write_deadline,
        queue=settings.store.write_queue,
        group=settings.store.group_size,
        read=settings.store.read_deadline,
    )
