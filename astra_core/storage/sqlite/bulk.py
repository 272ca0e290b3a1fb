"""Many commits at once: one statement for the rows of a table, whichever commit they are from.

Each call of `execute` gives the interpreter to the event loop and has to win it back, and each has to find its way
into the table. Commits that wait together mostly do the same small thing, such as one record and one change each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from msgspec import Struct

from astra_core.storage.sqlite.apply import append_changes, tip_of
from astra_core.storage.writes import Change, Insert

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from astra_core.storage.sqlite.apply import Applier
    from astra_core.storage.writes import Write

__all__ = ["Bulk", "Commit"]

_MOST = 64
"""Writes done at once: about a millisecond."""


class Commit(Struct, frozen=True):
    """The writes of one commit, as a unit of work of the engine."""

    applier: Applier
    writes: Sequence[Write]

    def __call__(self, connection: sqlite3.Connection) -> tuple[int, ...]:
        """Do them alone."""
        return self.applier(connection, self.writes)


class Bulk:
    """Does the units of a group; commits of nothing but inserts and changes that stand in a row it does at once.

    Among those the order does not matter: a key that is there already, before the group or within it, refuses one, and
    then the engine does all of them again one by one.
    """

    def __init__(self, applier: Applier) -> None:
        self._applier = applier

    def __call__(
        self, connection: sqlite3.Connection, works: Iterator[Callable[[sqlite3.Connection], Any]]
    ) -> list[Any]:
        """See `sqlite.group.Together`."""
        results: list[Any] = []
        row: list[Sequence[Insert | Change]] = []
        size = 0
        for work in works:
            if isinstance(work, Commit) and self._merges(writes := work.writes):
                row.append(writes)
                size += len(writes)
                if size < _MOST:
                    continue
                results += self._at_once(connection, row)
            else:
                results += self._at_once(connection, row)
                results.append(work(connection))
            row, size = [], 0
        return results + self._at_once(connection, row)

    def _merges(self, writes: Sequence[Write]) -> TypeGuard[Sequence[Insert | Change]]:
        tables = self._applier.tables
        for write in writes:
            if isinstance(write, Insert):
                if not tables[write.collection].merges(write):
                    return False
            elif not isinstance(write, Change):
                return False
        return True

    def _at_once(
        self, connection: sqlite3.Connection, commits: Sequence[Sequence[Insert | Change]]
    ) -> list[tuple[int, ...]]:
        if len(commits) < 2:
            return [self._applier(connection, writes) for writes in commits]
        inserts: dict[str, list[Insert]] = {}
        feeds: dict[str, tuple[int, list[str]]] = {}
        results = []
        for writes in commits:
            numbers = []
            for write in writes:
                if isinstance(write, Insert):
                    inserts.setdefault(write.collection, []).append(write)
                    numbers.append(1)
                    continue
                feed = feeds.get(write.feed)
                if feed is None:
                    feed = feeds[write.feed] = tip_of(connection, write.feed), []
                tip, keys = feed
                keys.append(write.key)
                numbers.append(tip + len(keys))
            results.append(tuple(numbers))
        for name, rows in inserts.items():
            self._applier.tables[name].insert_all(connection, rows)
        for name, (tip, keys) in feeds.items():
            append_changes(connection, name, keys, after=tip)
        return results
