"""One collection in memory: its records and its indexes, kept in step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.storage.memory_index import MemoryIndex, entry_of

if TYPE_CHECKING:
    from astra_core.storage.catalogue import Shape
    from astra_core.storage.memory_index import Entry, Row
    from astra_core.storage.writes import Entries

__all__ = ["MemoryTable", "entries_of"]


class MemoryTable:
    """Records by key, and every entry of theirs in its index."""

    __slots__ = ("indexes", "rows", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.rows: dict[str, Row] = {}
        self.indexes = {index.name: MemoryIndex(index.parts) for index in shape.indexes.values()}

    def put(self, key: str, row: Row) -> None:
        """Put in a record whose key is free."""
        self.rows[key] = row
        for name, entries in row[2].items():
            for entry in entries:
                self.indexes[name].add(entry)

    def take_out(self, key: str) -> Row:
        """Take a record out and return it."""
        row = self.rows.pop(key)
        for name, entries in row[2].items():
            for entry in entries:
                self.indexes[name].remove(entry)
        return row


def entries_of(entries: Entries, key: str) -> dict[str, tuple[Entry, ...]]:
    """Return the entries of a record in the form in which they compare; equal ones count once."""
    return {name: tuple({entry_of(parts, key): None for parts in rows}) for name, rows in entries.items()}
