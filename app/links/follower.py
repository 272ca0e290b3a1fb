"""Coherence: every change of a link, wherever it was made, is dropped from this process's cache."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from astra_core.errors import AstraError

if TYPE_CHECKING:
    from app.links.resolver import Resolver
    from astra_core.clock import Clock
    from astra_core.storage.changes import ChangesFeed

__all__ = ["Follower"]

logger = logging.getLogger(__name__)

_TRIM_EVERY = 1_000
"""Changes between two trims of the feed."""


class Follower:
    """Reads the changes feed and applies it to the resolver.

    `seq` is the number of the last change applied, `lag_since` the monotonic time of the last successful look, `gaps`
    counts how often the cache had to be cleared because changes were trimmed before they were read. `interval`, in
    seconds, and `keep`, the changes that a trim leaves, may be replaced while it runs.
    """

    def __init__(
        self, feed: ChangesFeed, resolver: Resolver, *, name: str, keep: int, interval: float = 0.05, clock: Clock
    ) -> None:
        self.seq = 0
        self.gaps = 0
        self.lag_since = 0.0
        self.healthy = False
        self._feed = feed
        self._resolver = resolver
        self._name = name
        self.keep = keep
        self.interval = interval
        self._clock = clock
        self._moved = -1
        self._untrimmed = 0

    @property
    def age(self) -> float:
        """Seconds since the last successful look."""
        return self._clock.monotonic() - self.lag_since

    async def open(self) -> None:
        """Start from now: nothing is cached yet, so nothing older matters."""
        self._moved = await self._feed.moved()
        self.seq = await self._feed.tip(self._name)
        self._looked(healthy=True)

    async def run(self) -> None:
        """Run for ever: look every `interval` seconds."""
        while True:
            await self._clock.sleep(self.interval)
            try:
                await self.follow()
            except AstraError as error:
                if self.healthy:
                    logger.warning("the changes feed is silent, cached links live for their TTL: %s", error)
                self._looked(healthy=False)
            except Exception:
                logger.exception("following changes")
                self._looked(healthy=False)

    async def follow(self) -> None:
        """Apply all changes that were committed since the last look."""
        moved = await self._feed.moved()
        if moved != self._moved or not self.healthy:
            await self._catch_up()
            self._moved = moved
        self._looked(healthy=True)

    def applied(self, seq: int) -> None:
        """Take note of a change that this process made and applied: it need not be read, if it is the next one."""
        if seq == self.seq + 1:
            self.seq = seq
            self._untrimmed += 1

    async def _catch_up(self) -> None:
        while True:
            news = await self._feed.changes(self._name, after=self.seq)
            if news.gap:
                self.gaps += 1
                self._resolver.clear()
            for code in news.keys:
                self._resolver.apply(code)
            # One that was made here may have been applied meanwhile.
            self.seq = news.seq if news.gap else max(self.seq, news.seq)
            self._untrimmed += len(news.keys)
            if not news.keys:
                break
        if self._untrimmed >= _TRIM_EVERY:
            self._untrimmed = 0
            with contextlib.suppress(AstraError):  # a full disk takes no trim, and the changes were read all the same
                await self._feed.trim(self._name, keep=self.keep)

    def _looked(self, *, healthy: bool) -> None:
        if healthy:
            self.lag_since = self._clock.monotonic()
        self.healthy = healthy
        self._resolver.feed_is_healthy(healthy)

    def __repr__(self) -> str:
        return f"<Follower {self._name} seq={self.seq} healthy={self.healthy} gaps={self.gaps}>"
