"""Links with times that were stored before there was an index of due times: once a database, they come to be in it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from msgspec.structs import replace

from app.domain import Course, first_state, next_due, recorded_state
from astra_core.errors import CommitConflict, StorageError
from astra_core.storage.writes import Add

if TYPE_CHECKING:
    from app.links.repository import LinkRepository, StoredLink
    from astra_core.clock import Clock
    from astra_core.storage.store import Store
    from astra_core.storage.writes import Write

__all__ = ["OlderLinks"]

logger = logging.getLogger(__name__)

_SOURCE = "links due"
"""The name under which the store keeps that it is done."""
_PAGE = 100
_PAUSE = 0.02
"""Seconds between two pages: a million links take some minutes, beside whatever else is done."""
_TROUBLE = 5.0


class OlderLinks:
    """Reads all links once, and writes those that time will move as a change writes them.

    Callers see nothing of it: the version that they know stays, and no cache has to drop anything. Until it is done,
    starts and expiries of older links are known to redirects as ever, and recorded with their next change. `entered`
    counts links.
    """

    def __init__(self, store: Store, links: LinkRepository, *, clock: Clock) -> None:
        self.entered = 0
        self._store = store
        self._links = links
        self._clock = clock

    async def run(self) -> None:
        """Do it, unless it was done; a store that is away is waited for."""
        while True:
            try:
                if _SOURCE not in await self._store.positions():
                    await self._enter_all()
                    await self._store.commit([Add(counters="none", amounts={}, source=_SOURCE, position=1)])
            except StorageError as error:
                logger.warning("links of an older version are entered later: %s", error)
                await self._clock.sleep(_TROUBLE)
            else:
                return

    async def _enter_all(self) -> None:
        after = None
        while True:
            page = await self._links.page(base=None, tag=None, contains="", after=after, limit=_PAGE)
            missing = [one for one in page.links if one.link.course is None and next_due(one.link) is not None]
            await self._enter(missing)
            after = page.next
            if after is None:
                return
            await self._clock.sleep(_PAUSE)

    async def _enter(self, missing: list[StoredLink]) -> None:
        """Write them at once; where one was changed meanwhile, which entered it, each of the others alone."""
        if not missing:
            return
        try:
            await self._store.commit([write for one in missing for write in self._writes(one)])
            self.entered += len(missing)
        except CommitConflict:
            if len(missing) > 1:
                for one in missing:
                    await self._enter([one])

    def _writes(self, stored: StoredLink) -> list[Write]:
        link = stored.link
        course = Course(first=first_state(link), state=recorded_state(link), edition=stored.edition)
        return self._links.replacement(replace(link, course=course), version=stored.version, seen=False)

    def __repr__(self) -> str:
        return f"OlderLinks(entered={self.entered})"
