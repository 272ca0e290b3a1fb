"""What `/readyz` reports: each dependency with its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.codes import SYSTEM
from astra_core.errors import AstraError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.api.health import Dependency
    from app.clicks import ClickCounter, Journal
    from app.links import Follower, Resolver
    from astra_core.clock import Clock
    from astra_core.storage import StoreEngine

__all__ = ["dependencies"]


def dependencies(
    store: StoreEngine,
    follower: Follower,
    resolver: Resolver,
    journal: Journal,
    counter: ClickCounter,
    *,
    clock: Clock,
) -> Mapping[str, Dependency]:
    """Return the looks at each dependency, by name."""

    async def look_at_store() -> Mapping[str, Any]:
        try:
            await store.get(SYSTEM.name, "codes")
        except AstraError as error:
            return {"ok": False, "reason": str(error)}
        return {"ok": True}

    async def look_at_changes() -> Mapping[str, Any]:
        return {
            "ok": follower.healthy,
            "seq": follower.seq,
            "gaps": follower.gaps,
            "age": round(clock.monotonic() - follower.lag_since, 3),
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
            "ok": journal.has_room,
            "recorded": journal.recorded,
            "dropped": journal.dropped,
            "lost": journal.lost,
            "counted": counter.counted,
            "failures": counter.failures,
            "segments": len(journal.pending),
        }

    return {
        "store": look_at_store,
        "changes": look_at_changes,
        "cache": look_at_cache,
        "clicks": look_at_clicks,
    }
