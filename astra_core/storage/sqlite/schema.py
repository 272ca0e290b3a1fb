"""How collections lie in SQLite: a table each, single-valued indexes as columns, multi-valued ones as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.sqlite import Schema

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping

    from astra_core.storage.catalogue import Shape
    from astra_core.storage.records import Index

__all__ = ["columns", "fresh_name", "index_name", "schema", "table_name"]

_APPLICATION = 0x41737472
"""The letters "Astr", which `file` and `PRAGMA application_id` show."""

_FIRST = (
    """
    CREATE TABLE counters (
        name TEXT NOT NULL,
        key TEXT NOT NULL,
        value INTEGER NOT NULL CHECK (typeof(value) = 'integer'),
        PRIMARY KEY (name, key)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE positions (source TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE changes (feed TEXT, seq INTEGER, key TEXT NOT NULL, PRIMARY KEY (feed, seq)) WITHOUT ROWID",
    """
    CREATE TABLE events (
        stream TEXT NOT NULL,
        key TEXT NOT NULL,
        number INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (stream, key, number)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        topic TEXT NOT NULL,
        key TEXT NOT NULL,
        data BLOB NOT NULL
    )
    """,
)
"""Numbers of a feed have no holes and its newest row is never trimmed, so a gap shows from the rows alone."""
_SECOND = ("ALTER TABLE outbox ADD COLUMN id TEXT NOT NULL DEFAULT ''",)


def table_name(shape: Shape) -> str:
    """Return the table of a collection's records."""
    return f"r_{shape.name}"


def index_name(shape: Shape, index: Index) -> str:
    """Return the quoted name of an index: colons keep it apart from every other collection's."""
    return f'"x:{shape.name}:{index.name}"'


def fresh_name(shape: Shape, index: Index) -> str:
    """Return the quoted name of the table in which a deferred index's newest entries wait."""
    return f'"x:{shape.name}:{index.name}:fresh"'


def columns(index: Index) -> tuple[str, ...]:
    """Return the columns that hold an index's parts."""
    if index.multi:
        return tuple(f"p{part}" for part in range(index.parts))
    return tuple(f"{index.name}_{part}" for part in range(index.parts))


def schema(shapes: Mapping[str, Shape]) -> Schema:
    """Return what a store's file must hold.

    A collection or index that is new to a file is added to it; records written before have no entry there until they
    are replaced. An index whose parts or uniqueness change needs a new name.
    """
    return Schema(application_id=_APPLICATION, migrations=(_FIRST, _SECOND), ensure=_ensure(shapes))


def _ensure(shapes: Mapping[str, Shape]) -> Callable[[sqlite3.Connection], None]:
    def ensure(connection: sqlite3.Connection) -> None:
        for shape in shapes.values():
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {table_name(shape)} "
                "(key TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, text TEXT NOT NULL, multi BLOB, "
                "value BLOB NOT NULL)"
            )
            rows = connection.execute(f"PRAGMA table_info({table_name(shape)})").fetchall()
            present = {row[1] for row in rows}
            for statement in _index_statements(shape, present):
                connection.execute(statement)

    return ensure


def _index_statements(shape: Shape, present: set[str]) -> Iterator[str]:
    for index in shape.single:
        for column in columns(index):
            if column not in present:
                yield f"ALTER TABLE {table_name(shape)} ADD COLUMN {column}"
        parts = ", ".join(columns(index))
        unique, key = ("UNIQUE ", "") if index.unique else ("", ", key")
        yield (
            f"CREATE {unique}INDEX IF NOT EXISTS {index_name(shape, index)} ON {table_name(shape)} ({parts}{key})"
            f" WHERE {columns(index)[0]} IS NOT NULL"
        )
    for index in shape.multi:
        parts = ", ".join(columns(index))
        primary = parts if index.unique else f"{parts}, key"
        cells = "".join(f"{column} NOT NULL, " for column in columns(index)) + "key TEXT NOT NULL"
        name = index_name(shape, index)
        yield f"CREATE TABLE IF NOT EXISTS {name} ({cells}, PRIMARY KEY ({primary})) WITHOUT ROWID"
        if index.deferred:
            yield f"CREATE TABLE IF NOT EXISTS {fresh_name(shape, index)} ({cells})"
