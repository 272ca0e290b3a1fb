"""From a path to a link: a bounded cache, one read at a time for a miss, unknown codes remembered, stale on error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.links.cache import ClockCache
from app.links.entry import entry_of, filled_again
from astra_core.errors import AstraError
from astra_core.keyed import SingleFlight

if TYPE_CHECKING:
    from app.links.entry import Entry
    from app.links.repository import LinkRepository
    from astra_core.clock import Clock
    from astra_core.keyed import Flight

__all__ = ["Resolver"]

_RETRY_STALE = 1.0
"""Seconds for which an entry that could not be read again is served without a further try."""


class Resolver:
    """What the redirect path knows of links.

    Entries are kept until a change of their code arrives (`apply`). While the changes feed is silent the `Follower`
    moves `fresh_after`, and older entries are read again; with the store away too they are served as they are. A fill
    is dropped when a change of the same code came in after its read began. Counts for metrics: `hits`, `misses`,
    `stale`, `unknown`; a caller that looks into `entries` itself adds its own hits.
    """

    def __init__(
        self, links: LinkRepository, *, clock: Clock, capacity: int, negative_capacity: int, ttl: float
    ) -> None:
        self.fresh_after = -math.inf
        self.hits = 0
        self.misses = 0
        self.stale = 0
        self.unknown = 0
        self.entries: ClockCache[Entry] = ClockCache(capacity)
        self.unknowns: ClockCache[float] = ClockCache(negative_capacity)
        self._links = links
        self._clock = clock
        self.ttl = ttl
        self._flights: SingleFlight[str, Entry | None] = SingleFlight()

    @property
    def joins(self) -> int:
        """Callers that shared another's read of the same code."""
        return self._flights.joins

    async def resolve(self, path: str) -> Entry | None:
        """Return the entry of `/code`, None when the code is unknown; `StoreUnavailable` when nothing is known."""
        entry = self.entries.look_up(path)
        if entry is not None:
            self.entries.mark(path)
            if entry.filled_at >= self.fresh_after:
                self.hits += 1
                return entry
        elif self.unknowns.look_up(path, -math.inf) >= self.fresh_after and path in self.unknowns:
            self.unknowns.mark(path)
            self.unknown += 1
            return None
        try:
            self.misses += 1
            return await self._flights.do(path, lambda flight: self._read(path, flight))
        except AstraError:
            if entry is None:
                raise
            self.stale += 1
            self._keep_stale(path, entry)
            return entry

    async def _read(self, path: str, flight: Flight) -> Entry | None:
        code = path[1:]
        began = self._clock.monotonic()
        found = await self._links.get_with_remaining(code)
        if found is None:
            if not flight.stale:
                self.entries.drop(path)
                self.unknowns.put(path, began)
            return None
        link, remaining = found
        entry = entry_of(link, remaining=remaining, filled_at=began)
        if not flight.stale:
            self.unknowns.drop(path)
            self.entries.put(path, entry)
        return entry

    def _keep_stale(self, path: str, entry: Entry) -> None:
        """Spare a store in trouble: the same link asks again only after a while."""
        if self.entries.look_up(path) is entry:
            self.entries.put(path, filled_again(entry, self._clock.monotonic() - self.ttl + _RETRY_STALE))

    def apply(self, code: str) -> None:
        """A change of `code` was committed somewhere: forget what is known of it, and what is being read."""
        path = "/" + code
        self.entries.drop(path)
        self.unknowns.drop(path)
        self._flights.mark(path)

    def clear(self) -> None:
        """It is not known what changed: forget everything."""
        self.entries.clear()
        self.unknowns.clear()
        self._flights.mark_all()

    def feed_is_healthy(self, healthy: bool) -> None:
        """While changes arrive entries live on; without them they are trusted for `ttl` seconds."""
        self.fresh_after = -math.inf if healthy else self._clock.monotonic() - self.ttl

    def __repr__(self) -> str:
        return f"<Resolver {self.entries!r} unknown={self.unknowns!r} misses={self.misses} stale={self.stale}>"
