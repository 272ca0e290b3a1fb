"""Reading the changes feed while another process commits."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from astra_core.storage.sqlite.schema import schema
from astra_core.storage.sqlite.store import _changes

if TYPE_CHECKING:
    from pathlib import Path


class _CommitBetween:
    """A connection that lets another process commit a change right after its first statement."""

    def __init__(self, path: Path) -> None:
        self._reader = sqlite3.connect(path, isolation_level=None)
        self._writer: sqlite3.Connection | None = sqlite3.connect(path, isolation_level=None)

    def execute(self, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        """Run it, and commit once behind it."""
        cursor = self._reader.execute(statement, values)
        rows = cursor.fetchall()
        if self._writer is not None:
            self._writer.execute("INSERT INTO changes (feed, seq, key) VALUES ('links', 2, 'late')")
            self._writer.close()
            self._writer = None
        return _Rows(rows)  # type: ignore[return-value]  # the one method that is used

    def close(self) -> None:
        """Close what is open."""
        self._reader.close()


class _Rows:
    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def fetchall(self) -> list[Any]:
        return self._rows


def test_a_change_committed_while_the_feed_is_read_is_not_skipped(tmp_path: Path) -> None:
    """The number to go on from never passes a change that was not returned."""
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as setup:
        setup.execute("PRAGMA journal_mode=WAL")
        for statements in schema({}).migrations:
            for statement in statements:
                setup.execute(statement)
        setup.execute("INSERT INTO changes (feed, seq, key) VALUES ('links', 1, 'early')")
    setup.close()
    connection: Any = _CommitBetween(path)
    first = _changes(connection, "links", 1, 100)
    then = _changes(connection, "links", first.seq, 100)
    connection.close()
    assert first.keys + then.keys == ("late",)
