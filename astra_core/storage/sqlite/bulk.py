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
"""Writes of several commits done at once: about a millisecond."""
_MANY = 16
"""Writes of one commit from which doing them at once pays."""


class Commit(Struct, frozen=True):
    """The writes of one commit, as a unit of work of the engine."""

    applier: Applier
    writes: Sequence[Write]

    def __call__(self, connection: sqlite3.Connection) -> tuple[int, ...]:
        """Do them alone."""
        return self.applier(connection, self.writes)


class Bulk:
    """Does the units of a group; what stands in a row and is nothing but inserts and changes it does at once.

    That goes across commits, and within one of many writes. Among inserts and changes the order does not matter: a key
    that is there already, before the row or within it, refuses one, and then the engine does all units one by one.
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
            if isinstance(work, Commit) and _merges(writes := work.writes):
                row.append(writes)
                size += len(writes)
                if size < _MOST:
                    continue
                results += self._commits(connection, row)
            else:
                results += self._commits(connection, row)
                results.append(self._alone(connection, work))
            row, size = [], 0
        return results + self._commits(connection, row)

    def _alone(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Any]) -> Any:
        if isinstance(work, Commit) and len(work.writes) >= _MANY:
            return self._in_runs(connection, work.writes)
        return work(connection)

    def _in_runs(self, connection: sqlite3.Connection, writes: Sequence[Write]) -> tuple[int, ...]:
        """Do one commit of many writes: each in its place, and those between two others at once."""
        results: list[int] = []
        run: list[Insert | Change] = []
        for place, write in enumerate(writes):
            if isinstance(write, (Insert, Change)):
                run.append(write)
                continue
            if run:
                results += self._at_once(connection, [run])[0]
                run = []
            results.append(self._applier.one(connection, place, write))
        if run:
            results += self._at_once(connection, [run])[0]
        return tuple(results)

    def _commits(
        self, connection: sqlite3.Connection, commits: Sequence[Sequence[Insert | Change]]
    ) -> list[tuple[int, ...]]:
        if len(commits) == 1 and len(commits[0]) < _MANY:
            return [self._applier(connection, commits[0])]
        return self._at_once(connection, commits)

    def _at_once(
        self, connection: sqlite3.Connection, commits: Sequence[Sequence[Insert | Change]]
    ) -> list[tuple[int, ...]]:
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


def _merges(writes: Sequence[Write]) -> TypeGuard[Sequence[Insert | Change]]:
    for write in writes:  # noqa: SIM110 - a generator takes twice as long
        if not isinstance(write, (Insert, Change)):
            return False
    return True
