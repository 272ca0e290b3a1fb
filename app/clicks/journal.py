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
from typing import TYPE_CHECKING, TypeVar

from app.clicks.segment import SUFFIX, Segment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from astra_core.clock import Clock
    from astra_core.keyed import BlockingPool

__all__ = ["Journal"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_POOL_DEADLINE = 10.0
_NAME_BYTES = 16
_UNLIMITED = 1 << 62
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EFBIG}


class Journal:
    """Clicks that were answered and are not yet counted, on disk before their answer left.

    `segment_size` and `quota` are bytes; the quota is for the folder, all workers together. Counts for metrics:
    clicks `recorded`, `dropped` for want of room, and `lost` in segments removed over quota.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_size: int,
        quota: int,
        clock: Clock,
        pool: BlockingPool,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.folder = folder
        self.recorded = 0
        self.dropped = 0
        self.lost = 0
        self._segment_size = segment_size
        self._quota = quota
        self._clock = clock
        self._now = clock.time
        self._pool = pool
        self._entropy = entropy
        self._current: Segment | None = None
        self._spare: Segment | None = None
        self._sealed: deque[Segment] = deque()
        self._spare_wanted = asyncio.Event()
        self._disk_refused = False
        self.in_use: Segment | None = None
        """The segment being counted just now; it must not be dropped under its reader."""

    async def open(self) -> None:
        """Make the folder and the first segment; with no room on the disk the journal opens all the same, and drops."""
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
            fits = await self._in_pool(self._fits)
            if not fits and not await self._drop_oldest():
                return
            self._spare = await self._in_pool(self._create)
            self._disk_refused = False
        except OSError as error:
            if error.errno not in _DISK:
                raise
            if not self._disk_refused:  # once, not at every try
                logger.error("click journal %s: no room for a segment (%s)", self.folder, error.strerror)
            self._disk_refused = True

    def _create(self) -> Segment:
        name = self._entropy(_NAME_BYTES)
        return Segment.create(self.folder, size=self._segment_size, name=name, now=self._now())

    def _fits(self) -> bool:
        return self._bytes() + self._segment_size <= self._quota

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
        """Over quota the oldest whole segment goes, and its uncounted events are counted as lost."""
        segment = next((s for s in self._sealed if s is not self.in_use), None)
        if segment is None:
            return False
        self._sealed.remove(segment)
        lost = await self._in_pool(lambda: segment.read(segment.applied, limit=_UNLIMITED).events)
        await self._in_pool(segment.remove)
        self.lost += lost
        logger.error("click journal %s: over quota, %d clicks lost with segment %s", self.folder, lost, segment.name)
        return True

    @property
    def pending(self) -> tuple[Segment, ...]:
        """Segments that may hold events not counted yet, oldest first; the last one is being written."""
        return (*self._sealed, self._current) if self._current is not None else tuple(self._sealed)

    @property
    def has_room(self) -> bool:
        """Whether clicks can be stored now."""
        return self._current is not None and (self._spare is not None or not self._disk_refused)

    def is_sealed(self, segment: Segment) -> bool:
        """Whether nothing will be appended to `segment` any more."""
        return segment is not self._current

    async def adopt(self) -> list[Segment]:
        """Take over the segments of workers that are gone; they join `pending`, and are returned."""
        adopted = await self._in_pool(self._adopt)
        self._sealed.extendleft(adopted)
        return adopted

    def _adopt(self) -> list[Segment]:
        paths = sorted(self.folder.glob("*" + SUFFIX))
        return [segment for path in paths if (segment := Segment.adopt(path)) is not None]

    async def remove(self, segment: Segment) -> None:
        """Remove a sealed segment that was counted to its end."""
        self._sealed.remove(segment)
        await self._in_pool(segment.remove)

    async def sync(self) -> None:
        """Make what was recorded survive a power cut."""
        for segment in self.pending:
            await self._in_pool(segment.sync)

    async def keep(self, *, sync_interval: float) -> None:
        """Run for ever: have a spare ready, and sync every `sync_interval` seconds."""
        next_sync = self._clock.monotonic() + sync_interval
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(sync_interval / 4):  # wait_for of 3.11 can lose a cancellation
                    await self._spare_wanted.wait()
            self._spare_wanted.clear()
            try:
                await self.prepare()
                if self._clock.monotonic() >= next_sync:
                    next_sync = self._clock.monotonic() + sync_interval
                    await self.sync()
            except Exception:
                logger.exception("click journal %s", self.folder)

    async def close(self) -> None:
        """Let go of every segment; what was not counted is adopted by another worker or at the next start."""
        segments = [*self.pending, *([self._spare] if self._spare else [])]
        self._sealed.clear()
        self._current = self._spare = None
        for segment in segments:
            done = segment.applied == segment.end
            await self._in_pool(segment.remove if done else segment.close)

    async def _in_pool(self, work: Callable[[], T]) -> T:
        return await self._pool.run(work, deadline=_POOL_DEADLINE)

    def __repr__(self) -> str:
        return f"<Journal {self.folder} recorded={self.recorded} dropped={self.dropped} sealed={len(self._sealed)}>"
