"""What `/readyz` reports: each dependency with its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.codes import SYSTEM
from astra_core.errors import AstraError
from astra_core.resilience import CircuitBreaker
from astra_core.storage import Add

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from app.api.health import Dependency
    from app.clicks import ClickCounter, Journal
    from app.links import Follower, Resolver
    from app.main.leading import Leader
    from app.main.reloading import Reloading
    from astra_core.coordination import CoordinationEngine
    from astra_core.messaging import MessagingEngine
    from astra_core.resilience import Policy
    from astra_core.storage import Store, StoreEngine

__all__ = ["dependencies", "probe_leases", "probe_messages", "probe_reads", "probe_writes"]


async def probe_reads(store: Store) -> None:
    """Read a record that is always there. Raises `StorageError` when the store does not answer."""
    await store.get(SYSTEM.name, "codes")


async def probe_writes(store: Store) -> None:
    """Write what nobody reads. Raises `StorageError` when the store does not take it."""
    await store.commit([Add(counters="probes", amounts={"writes": 1})])


async def probe_leases(engine: CoordinationEngine) -> None:
    """Take a lease that nobody wants, which is over at once: to read would not tell of a full disk.

    Raises `CoordinationError` when the engine does not give it.
    """
    await engine.acquire("probe", ttl=0.001)


async def probe_messages(engine: MessagingEngine) -> None:
    """Ask for the topics; a message would be somebody's to read. Raises `MessagingError` when there is no answer."""
    await engine.topics()


def breaker_figures(policy: Policy) -> Mapping[str, Any]:
    """Return what there is to know of the breaker in `policy`."""
    breaker = policy.breaker
    if not isinstance(breaker, CircuitBreaker):
        return {"state": "closed"}
    now = breaker.snapshot()
    return {
        "state": str(now.state),
        "failure_rate": round(now.failure_rate, 3),
        "calls": now.calls,
        "open_seconds": round(now.open_seconds, 3),
        "retry_after": round(now.retry_after, 3),
    }


def dependencies(
    store: StoreEngine,
    policies: Sequence[Policy],
    follower: Follower,
    resolver: Resolver,
    journal: Journal,
    counter: ClickCounter,
    leader: Leader,
    reloading: Reloading | None,
) -> Mapping[str, Dependency]:
    """Return the looks at each dependency, by name."""

    async def look_at_store() -> Mapping[str, Any]:
        breakers = _breakers(policies)
        try:
            await probe_reads(store)
        except AstraError as error:
            return {"ok": False, "reason": str(error), "breakers": breakers}
        return {"ok": _closed(breakers), "breakers": breakers}

    async def look_at_changes() -> Mapping[str, Any]:
        breakers = _breakers(leader.policies)
        return {
            "ok": follower.healthy and leader.ok and _closed(breakers),
            "seq": follower.seq,
            "gaps": follower.gaps,
            "age": round(follower.age, 3),
            "leader": leader.figures(),
            "breakers": breakers,
        }

    async def look_at_cache() -> Mapping[str, Any]:
        return {
            "ok": True,
            "entries": len(resolver.entries),
            "capacity": resolver.entries.capacity,
            "evictions": resolver.entries.evictions,
            "hits": resolver.hits,
            "misses": resolver.misses,
            "stale": resolver.stale,
            "joins": resolver.joins,
            "unknown": resolver.unknown,
        }

    async def look_at_clicks() -> Mapping[str, Any]:
        return {
            "ok": journal.has_room and not journal.sync_failed,
            "recorded": journal.recorded,
            "dropped": journal.dropped,
            "lost": journal.lost,
            "counted": counter.counted,
            "failures": counter.failures,
            "segments": len(journal.pending),
        }

    async def look_at_settings() -> Mapping[str, Any]:
        assert reloading is not None  # noqa: S101 - looked at only if it is there
        reloader = reloading.reloader
        return {
            "ok": True,  # the last good ones are in force, whatever became of later ones
            "version": reloader.version,
            "checksum": reloader.loaded.checksum,
            "environment": reloader.loaded.environment,
            "pending": reloader.pending,
            "problems": reloader.problems,
        }

    looks: dict[str, Dependency] = {
        "store": look_at_store,
        "changes": look_at_changes,
        "cache": look_at_cache,
        "clicks": look_at_clicks,
    }
    return looks if reloading is None else {**looks, "settings": look_at_settings}


def _breakers(policies: Iterable[Policy]) -> dict[str, Mapping[str, Any]]:
    return {policy.name: breaker_figures(policy) for policy in policies}


def _closed(breakers: Mapping[str, Mapping[str, Any]]) -> bool:
    return all(figures["state"] == "closed" for figures in breakers.values())
