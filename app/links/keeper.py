"""Links as instances of their lifecycle: what a runner reads of them, and what it commits to change one."""

from __future__ import annotations

from dataclasses import replace as with_fields
from typing import TYPE_CHECKING, TypeAlias

from msgspec.structs import replace

from app.domain import LIFE, LIFECYCLE, Course, LinkEvent, LinkState, Standing, first_state, recorded_state
from app.links.beginning import beginning_of
from app.links.repository import DUE, LINKS
from astra_core.storage.records import Query
from astra_core.workflow import Entry, Kept, Loaded, Runner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.links.repository import LinkRepository
    from astra_core.clock import Clock
    from astra_core.events import Listener
    from astra_core.storage.records import Record
    from astra_core.storage.writes import Write
    from astra_core.workflow.runner import StoreWithHistory

__all__ = ["LinkKeeper", "LinkRunner", "link_runner"]

LinkRunner: TypeAlias = Runner[LinkState, LinkEvent, LinkState, Standing]
"""Sends links their events."""


def link_runner(
    store: StoreWithHistory,
    links: LinkRepository,
    *,
    announce: str = "",
    clock: Clock,
    listeners: Listener | None = None,
) -> LinkRunner:
    """Return the runner of links' lives; each event is told on the topic `announce`, unless that is empty."""
    life = with_fields(LIFE, announce=announce)
    return Runner(life, store, keeper=LinkKeeper(links, clock=clock), clock=clock, listeners=listeners)


class LinkKeeper:
    """A `Keeper` over the records of links. Their histories begin with an entry that is never stored.

    So a creation writes what it always wrote: the record says when it was made, and in which state.
    """

    def __init__(self, links: LinkRepository, *, clock: Clock) -> None:
        self._links = links
        self._clock = clock

    async def load(self, key: str) -> Loaded[LinkState, Standing] | None:
        """See `Keeper.load`."""
        stored = await self._links.get(key)
        if stored is None:
            return None
        balance = (await self._links.remaining([key]))[key]
        standing = Standing(stored.link, stored.edition, balance, int(self._clock.time() * 1_000_000))
        state = recorded_state(stored.link)
        return Loaded(Kept(state=state, data=standing, timers=timers_of(state, standing)), stored.version)

    def writes(
        self, key: str, before: Loaded[LinkState, Standing] | None, after: Kept[LinkState, Standing]
    ) -> Sequence[Write]:
        """See `Keeper.writes`."""
        assert before is not None  # noqa: S101 - links are made by `LinkRepository.creation`
        was, now = before.kept.data, after.data
        course = Course(first=first_state(was.link), state=after.state, edition=now.edition)
        return self._links.replacement(
            replace(now.link, course=course),
            version=before.version,
            added=now.balance - was.balance,
            seen=now.edition != was.edition,
        )

    def first(self, key: str, loaded: Loaded[LinkState, Standing]) -> Entry | None:
        """See `Keeper.first`."""
        return beginning_of(loaded.kept.data.link)

    def overdue(self, now: int, *, limit: int) -> Query:
        """See `Keeper.overdue`."""
        return Query(collection=LINKS.name, index=DUE, below=now + 1, limit=limit)

    def key(self, record: Record) -> str:
        """See `Keeper.key`."""
        return self._links.code_of(record.key)


def timers_of(state: LinkState, standing: Standing) -> Mapping[str, int]:
    """Return when the timers of a state are due. They follow from the record, so nothing else keeps them."""
    timers = (timer for within in LIFECYCLE.within if state in within.members for timer in within.timers)
    due = {timer.name: timer.due(now=0.0, subject=standing) for timer in timers}
    return {name: round(seconds * 1e6) for name, seconds in due.items() if seconds is not None}
