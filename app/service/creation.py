"""Making links: one commit holds the links, their counters, their changes and the answer to the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.links import FEED
from app.service.planning import Planner
from astra_core.errors import CommitConflict
from astra_core.storage.writes import Change

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from app.codes import CodeFactory
    from app.links import LinkRepository, Resolver
    from app.service.drafts import Draft, LinkRules
    from app.service.idempotency import Answer, IdempotencyKeys, Receipt
    from app.service.planning import Outcome, Plan
    from astra_core.clock import Clock
    from astra_core.errors import AstraError
    from astra_core.storage.store import Store

__all__ = ["LinkCreator"]


def _nobody(number: int) -> None:
    pass


class LinkCreator:
    """Makes links, one or many, each request at most once for its idempotency key.

    Counts for metrics: links `created`, and drafts answered with an equal link, `reused`.
    """

    def __init__(
        self,
        store: Store,
        links: LinkRepository,
        codes: CodeFactory,
        resolver: Resolver,
        keys: IdempotencyKeys,
        *,
        clock: Clock,
        applied: Callable[[int], None] = _nobody,
    ) -> None:
        """`applied` is told the number of each change in the links' feed that was made and applied here."""
        self.created = 0
        self.reused = 0
        self._store = store
        self._planner = Planner(store, links, codes, clock=clock)
        self._resolver = resolver
        self._keys = keys
        self._applied = applied

    def create(
        self,
        drafts: Sequence[Draft | AstraError],
        *,
        rules: LinkRules,
        render: Callable[[list[Outcome]], Awaitable[Answer]],
        receipt: Receipt | None = None,
    ) -> Awaitable[Answer]:
        """Make what can be made and return the answer, the kept one when `receipt` was used before.

        `render` turns outcomes into the answer before they are committed, since both are committed as one; what it
        raises is raised, with nothing written. A draft that is an error already is refused with it.
        """
        if receipt is None:
            return self._create(drafts, rules, render, None)
        return self._once(drafts, rules, render, receipt)

    async def _once(
        self,
        drafts: Sequence[Draft | AstraError],
        rules: LinkRules,
        render: Callable[[list[Outcome]], Awaitable[Answer]],
        receipt: Receipt,
    ) -> Answer:
        if self._keys.is_under_way(receipt):  # it may be that of one who is given the answer that is kept
            found = await self._keys.look_up(receipt)
            if found.answer is not None:
                return found.answer
        self._keys.begin(receipt)
        try:
            return await self._create(drafts, rules, render, receipt)
        finally:
            self._keys.end(receipt)

    async def _create(
        self,
        drafts: Sequence[Draft | AstraError],
        rules: LinkRules,
        render: Callable[[list[Outcome]], Awaitable[Answer]],
        receipt: Receipt | None,
    ) -> Answer:
        kept_version = 0
        plans: list[Plan] | None = None
        while True:
            if receipt is not None:
                found = await self._keys.look_up(receipt)
                if found.answer is not None:
                    return found.answer
                kept_version = found.version
            if plans is None:
                plans = await self._planner.plan(drafts, rules)
            answer = await render([plan.outcome() for plan in plans])
            writes, owners = await self._planner.writes(plans)
            if receipt is not None:
                writes.append(self._keys.keep(receipt, answer, version=kept_version))
            if not writes:
                self._count(plans)
                return answer
            try:
                numbers = await self._store.commit(writes)
            except CommitConflict as conflict:
                if conflict.write < len(owners):
                    await self._planner.settle(owners)
                continue
            for plan in dict.fromkeys(owners):
                if plan.link is not None:
                    self._resolver.apply(plan.link.code)
            for write, number in zip(writes, numbers, strict=True):
                if type(write) is Change and write.feed == FEED:
                    self._applied(number)
            self._count(plans)
            return answer

    def _count(self, plans: Sequence[Plan]) -> None:
        for plan in plans:
            if plan.found is not None or (plan.twin is not None and plan.twin.error is None):
                self.reused += 1
            elif plan.error is None and plan.twin is None:
                self.created += 1
