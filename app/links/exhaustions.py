"""Links whose visits are used up: the last visit told a feed, and here their histories come to tell it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from app.links.repository import EXHAUSTED
from astra_core.errors import StorageError, StoreUnavailable
from astra_core.storage import ChangesFeed, Store
from astra_core.storage.writes import Add, Forget
from astra_core.workflow import UnknownInstance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.links.keeper import LinkRunner
    from astra_core.clock import Clock
    from astra_core.storage.writes import Write

__all__ = ["Exhaustions", "StoreWithChanges"]

logger = logging.getLogger(__name__)

_SOURCE = "feed exhausted"
"""The name under which the store keeps how far the feed was followed."""
_BATCH = 200
_AT_ONCE = 16
_KEEP = 1_000
"""Changes that a trim leaves."""


class StoreWithChanges(Store, ChangesFeed, Protocol):
    """What is needed of a store; every `StoreEngine` is one."""


class Exhaustions:
    """Follows the feed and has each link looked at: one without a visit left is due to be exhausted, once.

    Where it has come to is kept in the store, after the looks: a crash between looks twice, and the second look finds
    nothing to do. `looked` counts looks. `interval`, in seconds, may be replaced while it runs.
    """

    def __init__(self, store: StoreWithChanges, runner: LinkRunner, *, interval: float = 0.5, clock: Clock) -> None:
        self.looked = 0
        self.interval = interval
        self._store = store
        self._runner = runner
        self._clock = clock
        self._untrimmed = 0

    def __repr__(self) -> str:
        return f"Exhaustions(looked={self.looked})"

    async def run(self) -> None:
        """Follow until cancelled, from where the store says that it was followed to."""
        position: int | None = None
        while True:
            try:
                if position is None:
                    position = (await self._store.positions()).get(_SOURCE, 0)
                position = await self.follow(position)
            except StorageError as error:
                logger.warning("links that are used up are recorded later: %s", error)
                position = None
            await self._clock.sleep(self.interval)

    async def follow(self, position: int) -> int:
        """Look at all that came after `position`; returns the new one. Raises `StorageError`."""
        while True:
            news = await self._store.changes(EXHAUSTED, after=position, limit=_BATCH)
            if news.seq == position:
                return position
            await self._look_at(iter(dict.fromkeys(news.keys)))
            # A store that was put back may be behind the position, which moves back by being forgotten only.
            back: list[Write] = [Forget(source=_SOURCE)] if news.gap else []
            await self._store.commit([*back, Add(counters="none", amounts={}, source=_SOURCE, position=news.seq)])
            position = news.seq
            self._untrimmed += len(news.keys)
            if self._untrimmed >= _KEEP:
                self._untrimmed = 0
                await self._store.trim(EXHAUSTED, keep=_KEEP)

    async def _look_at(self, codes: Iterator[str]) -> None:
        async def work() -> None:
            for code in codes:
                await self._look(code)

        results = await asyncio.gather(*[work() for _ in range(_AT_ONCE)], return_exceptions=True)
        for error in results:
            if isinstance(error, BaseException):
                raise error

    async def _look(self, code: str) -> None:
        try:
            await self._runner.fire(code)
        except (StoreUnavailable, asyncio.CancelledError):
            raise
        except UnknownInstance:
            return
        except Exception:
            logger.exception("recording that a link is used up")  # the next change of it does
        self.looked += 1
