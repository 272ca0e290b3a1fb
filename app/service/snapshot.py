"""A link with what the store counts beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from app.clicks import VISITS
from app.domain import LinkState, state_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.domain import Link
    from app.links import LinkRepository, StoredLink
    from astra_core.storage.store import Store

__all__ = ["Snapshot", "snapshots"]


class Snapshot(Struct, frozen=True, kw_only=True):
    """A link, its version, its counted visits, and the visits it has left (None: no limit)."""

    link: Link
    version: int
    visits: int
    remaining: int | None

    def state(self, now: int) -> LinkState:
        """Return its state at `now`, microseconds since the epoch."""
        return state_of(self.link, now, self.remaining)


async def snapshots(store: Store, links: LinkRepository, stored: Sequence[StoredLink]) -> list[Snapshot]:
    """Add the counts to links, with one read a set of counters however many links there are."""
    codes = [one.link.code for one in stored]
    limited = [one.link.code for one in stored if one.link.max_visits is not None]
    visits = await store.counts(VISITS, codes) if codes else {}
    remaining = await links.remaining(limited) if limited else {}
    return [
        Snapshot(
            link=one.link,
            version=one.edition,
            visits=visits[one.link.code],
            remaining=remaining.get(one.link.code),
        )
        for one in stored
    ]
