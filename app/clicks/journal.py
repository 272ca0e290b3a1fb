"""The click journal of one worker: the segment being written, a spare, and the sealed ones that wait to be applied.

`record` is called while a redirect is being answered, so it only stores into memory; making segments, syncing and
unlinking them happen in a pool of threads. Other processes' segments are adopted here once nobody holds their lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from app.clicks.marks import mark, marked, unmark
from app.clicks.segment import HEADER_SIZE, SUFFIX, Segment, sweep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from astra_core.clock import Clock
    from astra_core.keyed import BlockingPool

__all__ = ["Journal"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_POOL_DEADLINE = 10.0
_NAME_BYTES = 16
_SLICE = 500
"""Events of a segment over quota that are counted before the loop is let go: about 0.4 ms."""
_UNBORN_AGE = 60.0
"""Seconds after which a segment that is still being made has lost its maker; making one takes milliseconds."""
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EFBIG}
_SYNC_SHARE = 0.75
"""Part of the sync interval after which a sync begins: what is recorded meanwhile is safe only when it has ended."""


class Journal:
    """Clicks that were answered and are not yet counted, on disk before their answer left.

    `segment_size` and `quota` are bytes; the quota is for the folder, all workers of a store together. Counts for
    metrics: clicks `recorded`, `dropped` for want of room, and `lost` in segments removed over quota; `bytes` that the
    folder held at the last sync. `quota` and `sync_interval`, in seconds, may be replaced while it runs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_size: int,
        quota: int,
        sync_interval: float = 1.0,
        clock: Clock,
        pool: BlockingPool,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.folder = folder
        self._older = folder
        """Where orphans of older versions lie, which do not say whose they are."""
        self.recorded = 0
        self.dropped = 0
        self.lost = 0
        self.bytes = 0
        self.quota = quota
        self.sync_interval = sync_interval
        self._segment_size = segment_size
        self._clock = clock
        self._now = clock.time
        self._pool = pool
        self._entropy = entropy
        self._current: Segment | None = None
        self._spare: Segment | None = None
        self._sealed: deque[Segment] = deque()
        # Both are filled in the pool's thread, so that what it did for a caller who had left by then is not forgotten.
        self._made: deque[Segment] = deque()
        self._orphans: deque[Segment] = deque()
        self._unreadable: set[str] = set()
        self._spare_wanted = asyncio.Event()
        self._refused = False
        self.sync_failed = False
        """The last sync did not succeed: a power cut would take more than its interval."""
        self.in_use: Segment | None = None
        """The segment being counted just now; it must not be dropped under its reader."""
        self.removed: list[str] = []
        """Names of segments that are gone for good, whose positions the store may forget."""

    async def open(self, own: str = "", *, heir: bool = True) -> None:
        """Make the folder and the first segment; with no room on the disk the journal opens all the same, and drops.

        `own` names the folder of the store within the one that stores may share: what lies in another's is left alone.
        An `heir` also takes over what older versions left in the shared one itself.
        """
        self.folder = self.folder / own
        self._older = self._older if heir else self.folder
        await self._in_pool(lambda: self.folder.mkdir(parents=True, exist_ok=True))
        await self.prepare()
        self._roll()
        await self.prepare()

    def record(self, code: bytes) -> bool:
        """Store one click so that it survives a killed process; False when there was no room and it was dropped."""
        current = self._current
        now = self._now()
        if (current is not None and current.append(now, code)) or (self._roll() and self._append(now, code)):
            self.recorded += 1
            return True
        self.dropped += 1
        return False

    def _append(self, now: float, code: bytes) -> bool:
        return self._current is not None and self._current.append(now, code)

    def _roll(self) -> bool:
        """Seal the current segment and go on in the spare; without a spare the full one stays current."""
        if self._spare is None:
            return False
        if self._current is not None:
            self._sealed.append(self._current)
        self._current, self._spare = self._spare, None
        self._spare_wanted.set()
        return True

    async def prepare(self) -> None:
        """Have a spare segment ready, within the quota and what the disk allows."""
        if self._spare is not None:
            return
        try:
            if not self._made:
                while not await self._in_pool(self._fits):
                    if not await self._drop_oldest():
                        self._refuse("the quota is used up")
                        return
                await self._in_pool(self._create)
            self._spare = self._made.popleft()
            self._refused = False
        except OSError as error:
            if error.errno not in _DISK:
                raise
            self._refuse(str(error))

    def _refuse(self, reason: str) -> None:
        if not self._refused:  # once, not at every try
            logger.error("click journal %s: no room for a segment (%s)", self.folder, reason)
        self._refused = True

    def _create(self) -> None:
        name = self._entropy(_NAME_BYTES)
        self._made.append(Segment.create(self.folder, size=self._segment_size, name=name, now=self._now()))

    def _fits(self) -> bool:
        return self._bytes() + self._segment_size <= self.quota

    def _bytes(self) -> int:
        total = 0
        for entry in os.scandir(self.folder):
            if entry.name.endswith(SUFFIX):
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:  # another worker removed it meanwhile
                    continue
        return total

    async def _drop_oldest(self) -> bool:
        """Over quota this worker's oldest whole segment goes, and its uncounted events are counted as lost."""
        segment = next((s for s in self._sealed if s is not self.in_use), None)
        if segment is None:
            return False
        self._sealed.remove(segment)
        lost, position = 0, segment.applied
        while (batch := segment.read(position, limit=_SLICE)).events:
            lost, position = lost + batch.events, batch.position
            await asyncio.sleep(0)
        await self._in_pool(lambda: self._remove(segment))
        self.lost += lost
        logger.error("click journal %s: over quota, %d clicks lost with segment %s", self.folder, lost, segment.name)
        return True

    @property
    def pending(self) -> tuple[Segment, ...]:
        """Segments that may hold events not counted yet, oldest first; the last one is being written."""
        return (*self._sealed, self._current) if self._current is not None else tuple(self._sealed)

    @property
    def age(self) -> float:
        """Seconds for which the oldest click that is not counted yet has waited; 0 when all are counted."""
        for segment in self.pending:
            if segment.applied < segment.end and (since := segment.time_at(segment.applied)) is not None:
                return max(0.0, self._now() - since)
        return 0.0

    @property
    def has_room(self) -> bool:
        """Whether clicks go on being stored when the current segment is full."""
        return self._spare is not None or (self._current is not None and not self._refused)

    def is_sealed(self, segment: Segment) -> bool:
        """Whether nothing will be appended to `segment` any more."""
        return segment is not self._current

    def seal(self) -> None:
        """End the current segment, so that it goes once it is counted; a click still to come opens the spare."""
        if self._current is not None:
            self._sealed.append(self._current)
            self._current = None

    async def adopt(self, positions: Callable[[], Awaitable[Mapping[str, int]]]) -> int:
        """Take over the segments of workers that are gone, each at its position; returns how many joined `pending`.

        `positions` is asked when their locks are held: an owner that was alive when it answered could still move one.
        When it raises, the segments wait for the next call.
        """
        await self._in_pool(self._lock_orphans)
        if not self._orphans:
            return 0
        applied = await positions()
        adopted = [self._orphans.popleft() for _ in range(len(self._orphans))]
        for segment in adopted:
            segment.applied = applied.get(segment.name, HEADER_SIZE)
        self._sealed = deque(sorted((*adopted, *self._sealed), key=lambda segment: segment.created))
        return len(adopted)

    def _lock_orphans(self) -> None:
        for folder in {self.folder, self._older}:
            sweep(folder, before=self._now() - _UNBORN_AGE)
            self.removed += [name for name in marked(folder) if name not in self.removed]
            self._lock_orphans_in(folder)

    def _lock_orphans_in(self, folder: Path) -> None:
        for path in folder.glob("*" + SUFFIX):
            try:
                segment = Segment.adopt(path)
            except (OSError, ValueError) as error:  # one bad file must not keep the others from being counted
                if path.name not in self._unreadable:
                    logger.error("click journal: %s cannot be taken over: %s", path, error)
                self._unreadable.add(path.name)
                continue
            if segment is not None:
                self._orphans.append(segment)

    async def remove(self, segment: Segment) -> None:
        """Remove a sealed segment that was counted to its end."""
        self._sealed.remove(segment)
        await self._in_pool(lambda: self._remove(segment))

    def _remove(self, segment: Segment) -> None:
        has_position = segment.applied > HEADER_SIZE or segment.claimed is not None
        if has_position:
            mark(segment.path.parent, segment.name)
        segment.remove()
        if has_position:
            self.removed.append(segment.name)

    async def forgotten(self, names: Sequence[str]) -> None:
        """The store has forgotten the positions of these, the first of `removed`."""
        del self.removed[: len(names)]
        for folder in {self.folder, self._older}:
            await self._in_pool(partial(unmark, folder, names))

    async def sync(self) -> None:
        """Make what was recorded survive a power cut, and see how full the folder is."""
        for segment in self.pending:
            await self._in_pool(segment.sync)
        self.bytes = await self._in_pool(self._bytes)

    async def keep(self) -> None:
        """Run for ever: have a spare ready, and sync so often that a cut takes no more than `sync_interval` seconds."""
        next_sync = self._clock.monotonic() + self.sync_interval * _SYNC_SHARE
        while True:
            wait = min(self.sync_interval / 4, max(0.0, next_sync - self._clock.monotonic()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):  # wait_for of 3.11 can lose a cancellation
                    await self._spare_wanted.wait()
            self._spare_wanted.clear()
            try:
                await self.prepare()
            except Exception:
                logger.exception("click journal %s", self.folder)
            if self._clock.monotonic() >= next_sync:
                next_sync = self._clock.monotonic() + self.sync_interval * _SYNC_SHARE
                await self._sync_or_say()

    async def _sync_or_say(self) -> None:
        try:
            await self.sync()
            self.sync_failed = False
        except OSError as error:
            if not self.sync_failed:  # once, not at every try
                logger.error("click journal %s: not synced, a power cut may lose its clicks (%s)", self.folder, error)
            self.sync_failed = True
        except Exception:
            logger.exception("click journal %s", self.folder)

    async def close(self) -> None:
        """Let go of every segment; what was not counted is adopted by another worker or at the next start."""
        segments = [*self.pending, *([self._spare] if self._spare else [])]
        self._sealed.clear()
        self._current = self._spare = None
        await self._in_pool(lambda: self._let_go(segments))

    def _let_go(self, segments: Iterable[Segment]) -> None:
        for segment in (*segments, *self._made, *self._orphans):
            try:
                if segment.applied == segment.end:
                    self._remove(segment)
                else:
                    segment.close()
            except OSError as error:
                logger.warning("click journal: %s stays until the next start: %s", segment.path, error)
        self._made.clear()
        self._orphans.clear()

    async def _in_pool(self, work: Callable[[], T]) -> T:
        return await self._pool.run(work, deadline=_POOL_DEADLINE)

    def __repr__(self) -> str:
        return f"<Journal {self.folder} recorded={self.recorded} dropped={self.dropped} sealed={len(self._sealed)}>"
