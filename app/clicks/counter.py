"""Counting clicks exactly once: segments in, increments out, the position in the same commit as the increments."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from app.clicks.segment import HEADER_SIZE, Batch
from astra_core.errors import AstraError
from astra_core.storage.writes import Add, Forget

if TYPE_CHECKING:
    from app.clicks.journal import Journal
    from app.clicks.segment import Segment
    from astra_core.clock import Clock
    from astra_core.storage.store import Store

__all__ = ["VISITS", "ClickCounter"]

VISITS = "visits"
"""The set of counters that holds the visits of each code."""

logger = logging.getLogger(__name__)

_SLICE = 500
"""Events read before the loop is let go: about 0.4 ms."""
_CODES = 2_000
"""Codes a commit: it bounds how long the store's writer is held."""


class ClickCounter:
    """Applies the journal to the counters in `store`.

    After a crash the position in the store says where the next owner of the segment goes on, and a batch at or below it
    changes nothing; so every stored click is counted once, whenever the process was killed. Counts for metrics:
    `counted` clicks, `failures` of commits.
    """

    def __init__(self, journal: Journal, store: Store, *, clock: Clock) -> None:
        self.counted = 0
        self.failures = 0
        self._journal = journal
        self._store = store
        self._clock = clock

    async def run(self, *, interval: float, adopt_interval: float) -> None:
        """Run for ever: count every `interval` seconds, adopt orphans every `adopt_interval`."""
        next_adoption = self._clock.monotonic()
        while True:
            try:
                if self._clock.monotonic() >= next_adoption:
                    next_adoption = self._clock.monotonic() + adopt_interval
                    await self.adopt()
                await self.count()
            except AstraError as error:
                self.failures += 1
                logger.warning("clicks wait to be counted: %s", error)
            except Exception:
                self.failures += 1
                logger.exception("counting clicks")
            await self._clock.sleep(interval)

    async def adopt(self) -> int:
        """Take over orphaned segments, each at the position the store has for it; returns how many."""
        positions = await self._store.positions()  # first: with the store away, orphans stay for somebody else
        adopted = await self._journal.adopt()
        for segment in adopted:
            segment.applied = positions.get(segment.name, HEADER_SIZE)
        return len(adopted)

    async def count(self) -> None:
        """Apply everything that is in the journal now, oldest segment first, and remove what is done with."""
        for segment in self._journal.pending:
            self._journal.in_use = segment
            try:
                await self._count_segment(segment)
            finally:
                self._journal.in_use = None

    async def _count_segment(self, segment: Segment) -> None:
        while True:
            batch = await self._gather(segment)
            if not batch.events:
                break
            add = Add(counters=VISITS, amounts=batch.visits, source=segment.name, position=batch.position)
            await self._store.commit([add])
            segment.applied = batch.position
            self.counted += batch.events
        # Nothing was awaited since the last read: a segment that is sealed now was sealed when it was read.
        if self._journal.is_sealed(segment):
            await self._journal.remove(segment)
            await self._store.commit([Forget(source=segment.name)])

    async def _gather(self, segment: Segment) -> Batch:
        """Read slices until the commit is big enough or the segment has no more."""
        whole = segment.read(segment.applied, limit=_SLICE)
        last = whole
        while last.events == _SLICE and len(whole.visits) < _CODES:
            await asyncio.sleep(0)
            last = segment.read(whole.position, limit=_SLICE)
            visits = whole.visits
            for code, visited in last.visits.items():
                visits[code] = visits.get(code, 0) + visited
            whole = Batch(visits, whole.events + last.events, last.position)
        return whole
