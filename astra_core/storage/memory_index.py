"""An ordered index in memory: a sorted list of entries that compare as the engines' entries do."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, TypeAlias

from astra_core.storage.records import Page, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from astra_core.storage.records import Query
    from astra_core.storage.writes import Scalar

__all__ = ["Entry", "MemoryIndex", "Row", "entry_of"]

Entry: TypeAlias = tuple[tuple[int, "Scalar"], ...]
"""Parts and key, each behind a rank: whole numbers stand before texts, and never meet them in a comparison."""

Row: TypeAlias = tuple[int, bytes, "Mapping[str, tuple[Entry, ...]]", str]
"""A record as kept: version, value, its entries by index, text."""

_LOWEST = (-1, 0)
_HIGHEST = (2, 0)


def _rank(value: Scalar) -> tuple[int, Scalar]:
    return (1, value) if isinstance(value, str) else (0, value)


def entry_of(parts: tuple[Scalar, ...], key: str) -> Entry:
    """Return the entry of `parts` for the record `key`."""
    return (*map(_rank, parts), (1, key))


class MemoryIndex:
    """Sorted entries. Insertion moves the tail of the list: quick up to some 100,000 entries."""

    __slots__ = ("_entries", "_parts")

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Put an entry in its place."""
        insort(self._entries, entry)

    def remove(self, entry: Entry) -> None:
        """Take an entry out."""
        del self._entries[bisect_left(self._entries, entry)]

    def holder(self, entry: Entry) -> str | None:
        """Return the key of a record that holds the parts of `entry`."""
        place = bisect_left(self._entries, (*entry[:-1], _LOWEST))
        if place < len(self._entries) and self._entries[place][:-1] == entry[:-1]:
            return str(self._entries[place][-1][1])
        return None

    def page(self, query: Query, rows: Mapping[str, Row]) -> Page:
        """Answer a query from the records in `rows`."""
        hits: list[Entry] = []
        last: Entry | None = None
        for looked, entry in enumerate(self._walk(query)):
            if query.contains and looked == query.scan:
                return Page(_records(hits, rows), _plain(last))
            if query.contains in rows[_key(entry)][3]:
                if len(hits) == query.limit:
                    return Page(_records(hits, rows), _plain(hits[-1]))
                hits.append(entry)
            last = entry
        return Page(_records(hits, rows), None)

    def _walk(self, query: Query) -> Iterator[Entry]:
        prefix = tuple(map(_rank, query.prefix))
        low = bisect_left(self._entries, prefix)
        high = bisect_left(self._entries, (*prefix, _HIGHEST if query.below is None else _rank(query.below)))
        if query.after is not None:
            after = tuple(map(_rank, query.after))
            if query.descending:
                high = min(high, bisect_left(self._entries, after))
            else:
                low = max(low, bisect_right(self._entries, after))
        places = range(high - 1, low - 1, -1) if query.descending else range(low, high)
        return (self._entries[place] for place in places)


def _plain(entry: Entry | None) -> tuple[Scalar, ...] | None:
    return None if entry is None else tuple(value for _, value in entry)


def _key(entry: Entry) -> str:
    return str(entry[-1][1])


def _records(entries: list[Entry], rows: Mapping[str, Row]) -> tuple[Record, ...]:
    keys = map(_key, entries)
    return tuple(Record(key, rows[key][0], rows[key][1]) for key in keys)
