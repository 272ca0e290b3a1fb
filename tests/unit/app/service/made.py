"""The service over a store in memory that tells of its commits, and lets a rival commit first."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.codes import SYSTEM, CodeFactory
from app.links import LINKS, LinkRepository, Resolver, link_runner
from app.service import IDEMPOTENCY, Answer, Draft, IdempotencyKeys, LinkCreator, LinkManager, LinkRules
from astra_core.storage import MemoryStore
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from app.service import Outcome, Receipt
    from astra_core.errors import AstraError
    from astra_core.storage.writes import Write

__all__ = ["Made", "RacedStore", "made"]

RULES = LinkRules(own_hosts=frozenset(), allow_credentials=False, max_url=8_192, redirect_status=302)


class RacedStore(MemoryStore):
    """Counts its commits; `rival` runs once, between what a caller has read and the commit of what it decided."""

    def __init__(self) -> None:
        super().__init__(collections=(LINKS, IDEMPOTENCY, SYSTEM))
        self.commits = 0
        self.rival: Callable[[Sequence[Write]], Awaitable[object]] | None = None

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Let the rival go first."""
        self.commits += 1
        rival, self.rival = self.rival, None
        if rival is not None:
            await rival(writes)
        return await super().commit(writes)


@dataclass(frozen=True)
class Made:
    """The service's parts; two creators and two managers, as in two processes."""

    store: RacedStore
    creator: LinkCreator
    rival: LinkCreator
    manager: LinkManager
    rival_manager: LinkManager
    keys: IdempotencyKeys
    clock: FakeClock
    applied: list[int]
    """What the first creator told whoever follows the changes."""

    async def create(
        self, *drafts: Draft | AstraError, by: LinkCreator | None = None, receipt: Receipt | None = None
    ) -> list[Outcome]:
        """Create, and return the outcomes that the last answer was rendered from."""
        rendered: list[list[Outcome]] = []

        async def render(outcomes: list[Outcome]) -> Answer:
            rendered.append(outcomes)
            return Answer(200, (), b"")

        await (by or self.creator).create(drafts, rules=RULES, render=render, receipt=receipt)
        return rendered[-1] if rendered else []


@asynccontextmanager
async def made() -> AsyncIterator[Made]:
    """Make the service over an empty store."""
    store, clock = RacedStore(), FakeClock()
    codes = CodeFactory(store, block=10_000, clock=clock)
    links = LinkRepository(store, keys=codes)
    keys = [IdempotencyKeys(store, ttl=60.0, clock=clock) for _ in range(2)]
    resolver = Resolver(links, clock=clock, capacity=10, negative_capacity=10, ttl=5.0)
    applied = list[int]()
    one = LinkCreator(store, links, codes, resolver, keys[0], clock=clock, applied=applied.append)
    other = LinkCreator(store, links, codes, resolver, keys[1], clock=clock)
    runner = link_runner(store, links, clock=clock)
    manager, rival = (LinkManager(store, links, runner, resolver, clock=clock) for _ in range(2))
    async with store:
        await codes.open()
        await codes.next_code()  # so that the block's own commit is not counted
        store.commits = 0
        yield Made(store, one, other, manager, rival, keys[0], clock, applied)
        await codes.close()
