"""The writes of one collection: every statement is built once, and one write takes as few of them as can be.

Each call of `execute` gives the interpreter to the event loop and has to win it back, which under load costs more than
what SQLite does meanwhile; so a record and its single-valued index entries are one statement.
"""

# ruff: noqa: S608 - statements are put together from identifiers that the catalogue has checked
from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from astra_core.errors import CommitConflict, ConflictReason
from astra_core.storage.sqlite.schema import columns, fresh_name, index_name, table_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from astra_core.storage.catalogue import Shape
    from astra_core.storage.records import Index
    from astra_core.storage.writes import Delete, Entries, Insert, Replace, Require, Scalar

__all__ = ["ROWS", "Refused", "Table"]

ROWS = 16
"""The most rows in one statement, so that few statements serve every number of them."""

_decode = msgspec.json.Decoder(dict[str, list[tuple[str | int, ...]]]).decode
_encode = msgspec.json.Encoder().encode


class Refused(Exception):  # noqa: N818 - says what happened
    """One of several records is there already."""


class Table:
    """Inserts, replaces and deletes the records of one collection with their index entries."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        name = table_name(shape)
        parts = [column for index in shape.single for column in columns(index)]
        self._absent = [(index.name, (None,) * index.parts) for index in shape.single]
        insert = f"INSERT OR IGNORE INTO {name} ({', '.join(['key', 'version', 'value', 'text', 'multi', *parts])})"
        marks = f"(?, 1, ?, ?, ?{', ?' * len(parts)})"
        self._insert = cache(lambda rows: f"{insert} VALUES {', '.join([marks] * rows)}")
        self._replace = (
            f"UPDATE OR IGNORE {name} SET version = version + 1, value = ?, text = ?, multi = ?"
            + "".join(f", {column} = ?" for column in parts)
            + " WHERE key = ? AND version = ?"
        )
        self._version = f"SELECT version, multi FROM {name} WHERE key = ?"
        self._delete = f"DELETE FROM {name} WHERE key = ? AND version = coalesce(?, version) RETURNING version, multi"
        self._multi = {
            index.name: _Deferred(shape, index) if index.deferred else _Multi(index_name(shape, index), index)
            for index in shape.multi
        }
        self._holders = {index.name: _holder(shape, index) for index in shape.unique}

    def insert(self, connection: sqlite3.Connection, place: int, write: Insert) -> int:
        """See `writes.Insert`."""
        multi = self._multi_of(write.entries) if self._multi else None
        row = (write.key, write.value, write.text, _packed(multi), *self._singles(write.entries))
        if connection.execute(self._insert(1), row).rowcount != 1:
            if self._at(connection, write.key) is not None:
                raise CommitConflict(ConflictReason.EXISTS, write=place, key=write.key)
            raise self._unique(connection, place, write)
        if multi:
            for name, rows in multi.items():
                if not self._multi[name].insert(connection, _keyed(rows, write.key)):
                    raise self._unique(connection, place, write)
        return 1

    def insert_all(self, connection: sqlite3.Connection, writes: Sequence[Insert]) -> None:
        """Insert records; raises `Refused` when one of them cannot be, without saying which."""
        for start in range(0, len(writes), ROWS):
            chunk = writes[start : start + ROWS]
            values: list[Any] = []
            elsewhere: dict[str, list[Any]] = {}
            for write in chunk:
                multi = self._multi_of(write.entries) if self._multi else None
                values += (write.key, write.value, write.text, _packed(multi), *self._singles(write.entries))
                if multi:
                    for name, rows in multi.items():
                        elsewhere.setdefault(name, []).extend((*row, write.key) for row in rows)
            if connection.execute(self._insert(len(chunk)), values).rowcount != len(chunk):
                raise Refused
            for name, rows in elsewhere.items():
                if not self._multi[name].insert(connection, rows):
                    raise Refused

    def replace(self, connection: sqlite3.Connection, place: int, write: Replace) -> int:
        """See `writes.Replace`."""
        before: dict[str, list[tuple[Scalar, ...]]] = {}
        multi: dict[str, list[tuple[Scalar, ...]]] | None = None
        if self._multi:
            multi = self._multi_of(write.entries)
            row = self._at(connection, write.key)
            before = _decode(row[1]) if row is not None and row[1] is not None else {}
        values = (write.value, write.text, _packed(multi), *self._singles(write.entries), write.key, write.version)
        if connection.execute(self._replace, values).rowcount != 1:
            self._at_version(connection, place, write.key, write.version)
            raise self._unique(connection, place, write)
        if before or multi:
            self._exchange(connection, place, write, before, multi or {})
        return write.version + 1

    def delete(self, connection: sqlite3.Connection, place: int, write: Delete) -> int:
        """See `writes.Delete`."""
        gone = connection.execute(self._delete, (write.key, write.version)).fetchall()
        if not gone:
            if write.version is not None:
                self._at_version(connection, place, write.key, write.version)
            return 0
        version, packed = gone[0]
        if packed is not None:
            for name, rows in _decode(packed).items():
                if name in self._multi:
                    self._multi[name].delete(connection, _keyed(rows, write.key))
        return int(version)

    def require(self, connection: sqlite3.Connection, place: int, write: Require) -> int:
        """See `writes.Require`."""
        if write.version:
            self._at_version(connection, place, write.key, write.version)
        elif self._at(connection, write.key) is not None:
            raise CommitConflict(ConflictReason.EXISTS, write=place, key=write.key)
        return write.version

    def _at(self, connection: sqlite3.Connection, key: str) -> tuple[int, bytes | None] | None:
        rows = connection.execute(self._version, (key,)).fetchall()
        return rows[0] if rows else None

    def _at_version(self, connection: sqlite3.Connection, place: int, key: str, version: int) -> None:
        row = self._at(connection, key)
        if row is None or row[0] != version:
            reason = ConflictReason.MISSING if row is None else ConflictReason.VERSION
            raise CommitConflict(reason, write=place, key=key)

    def _singles(self, entries: Entries) -> list[Scalar | None]:
        values: list[Scalar | None] = []
        for name, absent in self._absent:
            rows = entries.get(name)
            values.extend(rows[0] if rows else absent)
        return values

    def _multi_of(self, entries: Entries) -> dict[str, list[tuple[Scalar, ...]]]:
        return {name: list(dict.fromkeys(entries[name])) for name in self._multi if entries.get(name)}

    def _exchange(
        self,
        connection: sqlite3.Connection,
        place: int,
        write: Replace,
        before: dict[str, list[tuple[Scalar, ...]]],
        after: dict[str, list[tuple[Scalar, ...]]],
    ) -> None:
        """Change only the entries that differ."""
        for name, table in self._multi.items():
            old, new = before.get(name, []), after.get(name, [])
            if old == new:
                continue
            table.delete(connection, _keyed([row for row in old if row not in new], write.key))
            if not table.insert(connection, _keyed([row for row in new if row not in old], write.key)):
                raise self._unique(connection, place, write)

    def _unique(self, connection: sqlite3.Connection, place: int, write: Insert | Replace) -> CommitConflict:
        """Find which unique index refused the write: the first one declared, as every store reports it."""
        for name, statement in self._holders.items():
            for parts in write.entries.get(name, ()):
                if connection.execute(statement, (*parts, write.key)).fetchall():
                    return CommitConflict(ConflictReason.UNIQUE, write=place, key=write.key, index=name)
        raise AssertionError(f"{write.key!r} was refused, and no unique index of {self._shape.name} holds its entries")


class _Multi:
    """A table of entries, each with its record's key: that of one multi-valued index."""

    def __init__(self, name: str, index: Index) -> None:
        parts = (*columns(index), "key")
        marks = f"({', '.join('?' * len(parts))})"

        @cache
        def insert(rows: int) -> str:
            return f"INSERT OR IGNORE INTO {name} ({', '.join(parts)}) VALUES {', '.join([marks] * rows)}"

        @cache
        def delete(rows: int) -> str:
            return f"DELETE FROM {name} WHERE ({', '.join(parts)}) IN (VALUES {', '.join([marks] * rows)})"

        self._insert: Callable[[int], str] = insert
        self._delete: Callable[[int], str] = delete

    def insert(self, connection: sqlite3.Connection, rows: Sequence[tuple[Scalar, ...]]) -> bool:
        """Insert entries; False when another record holds one of them."""
        return _in_chunks(connection, self._insert, rows) == len(rows)

    def delete(self, connection: sqlite3.Connection, rows: Sequence[tuple[Scalar, ...]]) -> int:
        """Delete entries, and return how many were there."""
        return _in_chunks(connection, self._delete, rows)


class _Deferred(_Multi):
    """The tables of a deferred index: entries are appended to one, and may have been moved to the other."""

    def __init__(self, shape: Shape, index: Index) -> None:
        super().__init__(fresh_name(shape, index), index)
        self._settled = _Multi(index_name(shape, index), index)

    def delete(self, connection: sqlite3.Connection, rows: Sequence[tuple[Scalar, ...]]) -> int:
        """Delete entries. Most have been moved, and the others have to be looked for."""
        gone = self._settled.delete(connection, rows)
        return gone if gone == len(rows) else gone + super().delete(connection, rows)


def _in_chunks(
    connection: sqlite3.Connection, statement: Callable[[int], str], rows: Sequence[tuple[Scalar, ...]]
) -> int:
    hits = 0
    for start in range(0, len(rows), ROWS):
        chunk = rows[start : start + ROWS]
        values = [value for row in chunk for value in row]
        hits += connection.execute(statement(len(chunk)), values).rowcount
    return hits


def _keyed(rows: Sequence[tuple[Scalar, ...]], key: str) -> list[tuple[Scalar, ...]]:
    return [(*row, key) for row in rows]


def _packed(multi: dict[str, list[tuple[Scalar, ...]]] | None) -> bytes | None:
    return _encode(multi) if multi else None


def _holder(shape: Shape, index: Index) -> str:
    table = index_name(shape, index) if index.multi else table_name(shape)
    fixed = " AND ".join(f"{column} = ?" for column in columns(index))
    return f"SELECT 1 FROM {table} WHERE {fixed} AND key <> ?"
