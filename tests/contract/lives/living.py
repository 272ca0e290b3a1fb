"""A link, its manager and its history over a store of each kind, at a clock that the test moves."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.codes import SYSTEM
from app.codes.scheme import SCHEME, Codes
from app.domain import LIFE, Link, state_of
from app.links import LINKS, REMAINING, LinkRepository, LinkRunner, Resolver, StoredLink, link_runner
from app.service import IDEMPOTENCY, LinkHistory, LinkManager, LinkRules
from astra_core.errors import CommitConflict
from astra_core.keyed import BlockingPool
from astra_core.storage import MemoryStore, SqliteStore, Take
from astra_core.testing import FakeClock
from astra_core.workflow import REFUSED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from app.domain import LinkState
    from app.service import Happening
    from astra_core.storage import Collection, StoreEngine

__all__ = ["CODE", "CODES", "KINDS", "NOW", "RULES", "Living", "living", "open_store"]

KINDS = ("memory", "sqlite")
CODES = Codes(SCHEME, bytes(32))
CODE = "Abc0xyZ"
"""Of the form that has a sort key of another form: what looks a link up by the wrong one finds nothing."""
NOW = 1_700_000_000
RULES = LinkRules(own_hosts=frozenset(), allow_credentials=True, max_url=8_192, redirect_status=302)
COLLECTIONS = (LINKS, LIFE.seen, REFUSED, IDEMPOTENCY, SYSTEM)


@asynccontextmanager
async def open_store(
    kind: str, folder: Path, collections: Sequence[Collection] = COLLECTIONS
) -> AsyncIterator[StoreEngine]:
    """Open a store of a kind, empty or as it was left in `folder`."""
    if kind == "memory":
        async with MemoryStore(collections=collections) as memory:
            yield memory
        return
    writer, readers = BlockingPool("writer", threads=1, queue=64), BlockingPool("readers", threads=2, queue=64)
    try:
        async with SqliteStore(folder / "store.db", collections=collections, writer=writer, readers=readers) as store:
            yield store
    finally:
        await writer.close()
        await readers.close()


@dataclass(frozen=True)
class Living:
    """What a test asks of the one link."""

    store: StoreEngine
    links: LinkRepository
    runner: LinkRunner
    manager: LinkManager
    clock: FakeClock

    async def make(self, **members: Any) -> Link:
        """Make the link, as a creation does."""
        now = self.now
        link = Link(code=CODE, url="https://example.com/", created_at=now, updated_at=now, **members)
        await self.store.commit(self.links.creation(link))
        return link

    async def visit(self) -> bool:
        """Take a visit, as a redirect does; says whether there was one."""
        with suppress(CommitConflict):
            await self.store.commit([Take(counters=REMAINING, key=CODE)])
            return True
        return False

    async def stored(self) -> StoredLink:
        """Return the record."""
        stored = await self.links.get(CODE)
        assert stored is not None
        return stored

    async def shown(self) -> LinkState:
        """Return the state that callers see: times and limits have the word."""
        found = await self.links.get_with_remaining(CODE)
        assert found is not None
        return state_of(found[0], self.now, found[1])

    async def history(self) -> tuple[Happening, ...]:
        """Return all that happened to it."""
        return (await LinkHistory(self.links, self.runner).page(CODE, after=0, limit=1_000)).items

    @property
    def now(self) -> int:
        """The time as links count it."""
        return int(self.clock.time() * 1_000_000)


@asynccontextmanager
async def living(store: StoreEngine, *, announce: str = "") -> AsyncIterator[Living]:
    """Put the service over a store."""
    clock = FakeClock(time=NOW)
    links = LinkRepository(store, keys=CODES, announce=announce)
    runner = link_runner(store, links, announce=announce, clock=clock)
    resolver = Resolver(links, clock=clock, capacity=10, negative_capacity=10, ttl=5.0)
    yield Living(store, links, runner, LinkManager(store, links, runner, resolver, clock=clock), clock)
