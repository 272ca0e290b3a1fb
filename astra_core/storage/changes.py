"""The port of the changes feed: which keys changed since, so that caches in other processes drop what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Changes", "ChangesFeed"]


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys changed after some number, oldest first, and `seq`, the number to go on from.

    `gap` says that changes after that number were trimmed, or that the store went back behind it (a restored
    backup): what they were is unknown, so a reader drops everything it holds and goes on from `seq`.
    """

    keys: tuple[str, ...]
    seq: int
    gap: bool = False


class ChangesFeed(Protocol):
    """Reading side of the feed; the writing side is a `Change` in a commit."""

    async def tip(self, feed: str) -> int:
        """Return the number of the newest change, 0 when there was none."""
        ...

    async def changes(self, feed: str, *, after: int, limit: int = 1000) -> Changes:
        """Return up to `limit` changes that follow number `after`."""
        ...

    async def moved(self) -> int:
        """Return a number that differs from the last call's when anything may have been committed since. Cheap."""
        ...

    async def trim(self, feed: str, *, keep: int) -> int:
        """Drop all but the newest `keep` changes (at least 1), a bounded number a call; returns how many went."""
        ...
