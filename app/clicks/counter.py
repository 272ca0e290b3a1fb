"""Counting clicks exactly once: segments in, increments out, the position in the same commit as the increments."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from app.clicks.segment import TRACES, Batch
from astra_core.errors import AstraError
from astra_core.storage.writes import Add, Forget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

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
    changes nothing; so every stored click is counted once, whenever the process was killed. A batch whose commit did
    not return (it failed, or the caller was cancelled while it was on its way) is handed over again as it was: only the
    very same batch is sure to be skipped if it did happen. Counts for metrics: `counted` clicks, `failures` of commits.

    `interval` and `adopt_interval`, in seconds, may be replaced while it runs.
    `span` is entered round the commit of a batch that holds traced clicks, with their trace contexts of 24 bytes each.
    """

    def __init__(
        self,
        journal: Journal,
        store: Store,
        *,
        interval: float = 0.25,
        adopt_interval: float = 2.0,
        clock: Clock,
        span: Callable[[Sequence[bytes]], AbstractContextManager[object]] | None = None,
    ) -> None:
        self.counted = 0
        self.failures = 0
        self._journal = journal
        self._store = store
        self.interval = interval
        self.adopt_interval = adopt_interval
        self._clock = clock
        self._span = span
        self._failing = ""

    async def run(self) -> None:
        """Run for ever: count every `interval` seconds, adopt orphans every `adopt_interval`."""
        next_adoption = self._clock.monotonic()
        while True:
            try:
                if self._clock.monotonic() >= next_adoption:
                    next_adoption = self._clock.monotonic() + self.adopt_interval
                    await self.adopt()
                await self.count()
                self._failing = ""
            except (AstraError, OSError) as error:
                self.failures += 1
                if str(error) != self._failing:  # once, not at every try
                    logger.warning("clicks wait to be counted: %s", error)
                self._failing = str(error)
            except Exception:
                self.failures += 1
                logger.exception("counting clicks")
            await self._clock.sleep(self.interval)

    async def adopt(self) -> int:
        """Take over orphaned segments, each at the position the store has for it; returns how many."""
        return await self._journal.adopt(self._store.positions)

    async def count(self) -> None:
        """Apply everything that is in the journal now, oldest segment first, and remove what is done with."""
        for segment in self._journal.pending:
            if segment not in self._journal.pending:
                continue  # it was dropped over quota while another one was counted
            self._journal.in_use = segment
            try:
                await self._count_segment(segment)
            finally:
                self._journal.in_use = None
        await self._forget()

    async def finish(self) -> None:
        """Count what is left at the end of the process, and remove the current segment with the others."""
        self._journal.seal()
        await self.count()

    async def _count_segment(self, segment: Segment) -> None:
        """Apply what is in `segment` now. What is recorded meanwhile waits for the next round: under load there is
        always something new, and counting it at once would commit without a pause."""
        sealed, until = self._journal.is_sealed(segment), segment.end
        while segment.applied < until:
            batch = segment.claimed or await self._gather(segment)
            if not batch.events:
                break
            add = Add(counters=VISITS, amounts=batch.visits, source=segment.name, position=batch.position)
            segment.claimed = batch
            with self._span(batch.traces) if self._span and batch.traces else contextlib.nullcontext():
                await self._store.commit([add])
            segment.claimed = None
            segment.applied = batch.position
            self.counted += batch.events
        if sealed:
            await self._journal.remove(segment)

    async def _forget(self) -> None:
        """Drop the positions of segments that are gone; those of which the store does not hear now, it hears later."""
        names = tuple(self._journal.removed)
        if names:
            await self._store.commit([Forget(source=name) for name in names])
            await self._journal.forgotten(names)

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
            traces = (*whole.traces, *last.traces)[:TRACES]
            whole = Batch(visits, whole.events + last.events, last.position, traces)
        return whole
