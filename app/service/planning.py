"""From drafts to the writes that make their links: decided before a commit, and anew when it conflicts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from app.domain import LinkState
from app.links import digest_of, place_of
from app.service.drafts import Draft, draft_link
from app.service.errors import CodeTaken
from app.service.snapshot import Snapshot, snapshots
from astra_core.errors import AstraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.codes import CodeFactory
    from app.domain import Link
    from app.links import LinkRepository, StoredLink
    from app.service.drafts import LinkRules
    from astra_core.clock import Clock
    from astra_core.storage.store import Store
    from astra_core.storage.writes import Write

__all__ = ["Outcome", "Plan", "Planner"]

_LIVE = {LinkState.ACTIVE, LinkState.SCHEDULED}
_EQUALS = 10
"""Equal links looked at for one that still lives."""
_SLICE = 20
"""Drafts worked on before the loop is let go: under a millisecond."""


class Outcome(Struct, frozen=True):
    """What became of one draft: a link (`created`, or an equal one found), or the error that refused it."""

    snapshot: Snapshot | None = None
    created: bool = False
    error: AstraError | None = None


class Plan(Struct, eq=False):
    """One draft on its way; `link` is what to insert, `found` what to answer instead.

    `key` is the sort key of the link's code, empty where nobody asked for it yet; `place` what the link claims among
    its equals, if it is one to be reused.
    """

    draft: Draft | None
    link: Link | None = None
    found: Snapshot | None = None
    twin: Plan | None = None
    error: AstraError | None = None
    key: str = ""
    place: str = ""

    def outcome(self) -> Outcome:
        """Return what to answer, if the commit succeeds."""
        if self.error is not None:
            return Outcome(error=self.error)
        if self.twin is not None:
            twin = self.twin.outcome()
            return Outcome(snapshot=twin.snapshot, error=twin.error)
        if self.found is not None:
            return Outcome(snapshot=self.found)
        assert self.link is not None  # noqa: S101 - a plan has one of the four
        new = Snapshot(link=self.link, version=1, visits=0, remaining=self.link.max_visits)
        return Outcome(snapshot=new, created=True)


class Planner:
    """Decides which links drafts become, by the rules, the codes that are free and the equal links there are."""

    def __init__(self, store: Store, links: LinkRepository, codes: CodeFactory, *, clock: Clock) -> None:
        self._store = store
        self._links = links
        self._codes = codes
        self._clock = clock

    async def plan(self, drafts: Sequence[Draft | AstraError], rules: LinkRules, *, look: bool = True) -> list[Plan]:
        """Decide what becomes of each draft; `look` whether the custom codes of many are free (a conflict else shows).

        Looking costs a read a code, a conflict costs a commit.
        """
        plans: list[Plan] = []
        twins: dict[tuple[str, str | None], Plan] = {}
        taken: set[str] | None = set() if len(drafts) > 1 else None
        for place, draft in enumerate(drafts):
            if place and not place % _SLICE:
                await asyncio.sleep(0)
            if isinstance(draft, AstraError):
                plans.append(Plan(None, error=draft))
                continue
            plan = Plan(draft)
            plans.append(plan)
            try:
                plan.link = draft_link(draft, rules, now=self._now())
            except AstraError as error:
                plan.error = error
                continue
            if draft.reuse:
                twin = twins.setdefault((digest_of(plan.link), draft.code), plan)
                if twin is not plan:
                    plan.twin = twin
                    continue
                await self._reuse(plan, draft, plan.link)
            if plan.found is None and not self._gave_code_at_hand(plan, plan.link, taken):
                await self._give_code(plan, taken=taken, look=look)
        return plans

    def _gave_code_at_hand(self, plan: Plan, link: Link, taken: set[str] | None) -> bool:
        """Give the link a new code if that needs no waiting, as nearly always; a coroutine would cost more than it."""
        code = None if link.code or link.private else self._codes.code_at_hand()
        if code is None or (taken is not None and code in taken):
            return False
        plan.link, plan.key = replace(link, code=code), self._links.sort_key(code)
        if taken is not None:
            taken.add(code)
        return True

    async def _give_code(self, plan: Plan, *, taken: set[str] | None = None, look: bool = True) -> None:
        """Give the link its code. A batch, which has `taken` some, looks a custom one up: a conflict costs a commit."""
        assert plan.link is not None  # noqa: S101
        code = plan.link.code
        if not code:
            code = self._codes.private_code() if plan.link.private else await self._codes.next_code()
            while taken is not None and code in taken:  # asked for by a draft before: the two would conflict for ever
                code = self._codes.private_code() if plan.link.private else await self._codes.next_code()
            plan.link, plan.key = replace(plan.link, code=code), self._links.sort_key(code)
        elif taken is not None and (code in taken or (look and await self._links.get(code) is not None)):
            plan.error = CodeTaken(code)
        if taken is not None:
            taken.add(code)

    async def _reuse(self, plan: Plan, draft: Draft, link: Link) -> None:
        """Answer with an equal link that still lives, or claim a place; with a code only its own link will do."""
        now = self._now()
        equals: Sequence[StoredLink]
        if draft.code is not None:
            stored = await self._links.get(draft.code)
            equals = [stored] if stored is not None and digest_of(stored.link) == digest_of(link) else []
        else:
            equals = await self._links.equal_to(link, limit=_EQUALS)
        living = (one for one in await snapshots(self._store, self._links, equals) if one.state(now) in _LIVE)
        plan.found = next(living, None)
        plan.place = place_of(link, after=equals[0].link if equals else None)

    async def writes(self, plans: Sequence[Plan]) -> tuple[list[Write], list[Plan]]:
        """Return the writes of all plans and, place by place, whose they are."""
        writes: list[Write] = []
        owners: list[Plan] = []
        for place, plan in enumerate(plans):
            if place and not place % _SLICE:
                await asyncio.sleep(0)
            if plan.error is None and plan.found is None and plan.twin is None and plan.link is not None:
                creation = self._links.creation(plan.link, key=plan.key, place=plan.place)
                writes += creation
                owners += [plan] * len(creation)
        return writes, owners

    async def settle(self, owners: Sequence[Plan]) -> None:
        """Take the next code, or the equal link that somebody made meanwhile, or refuse the custom code.

        Where one plan of a batch lost a race, others did too: all look again, or each would cost a commit of its own.
        """
        for place, plan in enumerate(dict.fromkeys(owners)):
            if place and not place % _SLICE:
                await asyncio.sleep(0)
            await self._look_again(plan)

    async def _look_again(self, plan: Plan) -> None:
        assert plan.link is not None  # noqa: S101
        assert plan.draft is not None  # noqa: S101
        if place := plan.place:
            await self._reuse(plan, plan.draft, plan.link)
            # An equal link under another code may hold the place, or one that a clock set back made look older.
            if plan.draft.code is not None or (plan.place == place and place != place_of(plan.link)):
                plan.place = ""
        if plan.found is not None or await self._links.get(plan.link.code) is None:
            return
        if plan.draft.code is not None:
            plan.error = CodeTaken(plan.draft.code)
        else:
            plan.link = replace(plan.link, code="")
            await self._give_code(plan)

    def _now(self) -> int:
        return int(self._clock.time() * 1_000_000)
