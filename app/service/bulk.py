"""Making many links a commit, beside which something of the caller's moves: a slice happens as a whole, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.service.errors import CodeTaken
from app.service.planning import Planner
from astra_core.errors import CommitConflict
from astra_core.storage.writes import Change, Insert

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from app.codes import CodeFactory
    from app.links import LinkRepository
    from app.service.drafts import Draft, LinkRules
    from app.service.planning import Outcome
    from astra_core.clock import Clock
    from astra_core.errors import AstraError
    from astra_core.storage.store import Store
    from astra_core.storage.writes import Write

__all__ = ["SliceCreator"]


class SliceCreator:
    """Makes links by the rules of `LinkCreator`, for somebody who has many and knows where he is.

    Custom codes are not looked up before the commit, for that costs a read each, until one turns out to be taken; then
    they are, for as long as slices hold such codes.
    """

    def __init__(self, store: Store, links: LinkRepository, codes: CodeFactory, *, clock: Clock) -> None:
        self._store = store
        self._planner = Planner(store, links, codes, clock=clock)
        self._look = False

    async def create(
        self,
        drafts: Sequence[Draft | AstraError],
        *,
        rules: LinkRules,
        beside: Callable[[list[Outcome]], Awaitable[Sequence[Write]]],
    ) -> list[Outcome]:
        """Make what can be made and return what became of each draft.

        `beside` returns the caller's own writes for these outcomes; it is asked again when a code turned out to be
        taken. Raises `CommitConflict` when one of the caller's writes is refused, and whatever the store raises;
        nothing is written then, but after `CommitInDoubt`.
        """
        plans = await self._planner.plan(drafts, rules, look=self._look)
        while True:
            outcomes = [plan.outcome() for plan in plans]
            own = list(await beside(outcomes))
            writes, owners = await self._planner.writes(plans)
            try:
                await self._store.commit(own + _in_runs(writes))
            except CommitConflict as conflict:
                if conflict.write < len(own):
                    raise
                await self._planner.settle(owners)
                continue
            self._look = any(isinstance(each.error, CodeTaken) for each in outcomes)
            return outcomes


def _in_runs(writes: Sequence[Write]) -> list[Write]:
    """Put inserts and changes first, which a store does at once where they stand together; the order is ours."""
    merged: list[Write] = [write for write in writes if isinstance(write, (Insert, Change))]
    return merged + [write for write in writes if not isinstance(write, (Insert, Change))]
