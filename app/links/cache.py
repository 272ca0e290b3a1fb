"""A bounded map whose hits cost one dictionary look-up and one set insertion."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["ClockCache"]

V = TypeVar("V")

_CHANCES = 32
"""Entries that one eviction may pass over: a cache whose every key is marked must not be swept in one go."""
_AT_ONCE = 2
"""Entries that one insertion may evict: more than it adds, so a cache that was made smaller shrinks by itself."""


class ClockCache(Generic[V]):
    """CLOCK, also called second chance or FIFO with reinsertion (F. J. Corbató, MIT MAC-M-376, 1968).

    A hit marks its key; eviction takes the oldest key that has no mark, and unmarks and requeues those it passes.
    Unlike LRU a hit moves nothing, and its hit ratio on web traces is as good or better (Yang et al., "FIFO can be
    Better than LRU: the Power of Lazy Promotion and Quick Demotion", HotOS 2023). `look_up` and `mark` are the bare C
    methods, for a caller that counts every 50 ns.

    `capacity` may be replaced at any time; `trim` then removes what is too much, some at a time.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.evictions = 0
        self._entries: OrderedDict[str, V] = OrderedDict()
        self._marked: set[str] = set()
        self.look_up = self._entries.get
        self.mark = self._marked.add

    def put(self, key: str, value: V) -> None:
        """Insert or replace an entry; what the bound asks for is evicted."""
        entries = self._entries
        if key not in entries:
            if self.capacity <= 0:
                return
            for _ in range(min(_AT_ONCE, len(entries) - self.capacity + 1)):
                self._evict()
        entries[key] = value

    def _evict(self) -> None:
        entries, marked = self._entries, self._marked
        for _ in range(_CHANCES):
            oldest = next(iter(entries))
            if oldest not in marked:
                break
            marked.discard(oldest)
            entries.move_to_end(oldest)
        oldest, _ = entries.popitem(last=False)
        marked.discard(oldest)
        self.evictions += 1

    def trim(self, limit: int) -> bool:
        """Evict up to `limit` entries beyond the capacity; returns whether there are still too many."""
        for _ in range(min(limit, len(self._entries) - self.capacity)):
            self._evict()
        return len(self._entries) > self.capacity

    def drop(self, key: str) -> None:
        """Forget an entry, if there is one."""
        self._entries.pop(key, None)
        self._marked.discard(key)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._marked.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __repr__(self) -> str:
        return f"<ClockCache {len(self)}/{self.capacity}>"
