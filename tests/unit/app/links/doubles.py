"""A store of links whose reads can be held up, counted and refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.domain import Link
from app.links import FEED, LINKS, LinkRepository
from astra_core.errors import StoreUnavailable
from astra_core.storage import MemoryStore
from astra_core.storage.writes import Change

if TYPE_CHECKING:
    from astra_core.storage import Changes, Record


class Store(MemoryStore):
    """`away` refuses every read; `hold` makes reads wait between looking and answering, as a slow engine does."""

    def __init__(self) -> None:
        super().__init__(collections=(LINKS,))
        self.away = False
        self.refuses_trims = False
        self.reads = 0
        self.trims = 0
        self._go = asyncio.Event()
        self._go.set()

    def hold(self) -> None:
        """Let reads wait from now on."""
        self._go.clear()

    def release(self) -> None:
        """Let them go."""
        self._go.set()

    async def get(self, collection: str, key: str) -> Record | None:
        """Look, wait, answer."""
        self.reads += 1
        self._check()
        found = await super().get(collection, key)
        await self._go.wait()
        self._check()
        return found

    async def moved(self) -> int:
        """Look for commits."""
        self._check()
        return await super().moved()

    async def changes(self, feed: str, *, after: int, limit: int = 1000) -> Changes:
        """Read changes, few at a time."""
        self._check()
        return await super().changes(feed, after=after, limit=min(limit, 100))

    async def trim(self, feed: str, *, keep: int) -> int:
        """Trim, or refuse as a full disk does."""
        self.trims += 1
        if self.refuses_trims:
            raise StoreUnavailable("the disk is full")
        return await super().trim(feed, keep=keep)

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


def link(code: str, **members: object) -> Link:
    """Return an active link to a place named after its code."""
    given = {"url": f"https://example.com/{code}", "created_at": 1, "updated_at": 1, **members}
    return Link(code=code, **given)  # type: ignore[arg-type]


async def create(store: Store, *links: Link) -> None:
    """Store links as a creation does, in whatever process."""
    repository = LinkRepository(store)
    for one in links:
        await store.commit(repository.creation(one))


async def replace(store: Store, code: str, **members: object) -> None:
    """Change a link as another process does."""
    repository = LinkRepository(store)
    before = await repository.get(code)
    assert before is not None
    after = link(code, **members)
    added = (after.max_visits or 0) - (before.link.max_visits or 0)
    await store.commit(repository.replacement(after, version=before.version, added=added))


async def change(store: Store, *codes: str) -> None:
    """Append to the changes feed alone."""
    await store.commit([Change(feed=FEED, key=code) for code in codes])


async def turns(count: int = 20) -> None:
    """Let every ready task run."""
    for _ in range(count):
        await asyncio.sleep(0)
