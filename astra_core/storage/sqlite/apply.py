"""One commit as a unit of work of the engine: its writes in order, on the writer's connection."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from astra_core.errors import CommitConflict, ConflictReason
from astra_core.storage.sqlite.table import ROWS, Table
from astra_core.storage.writes import Add, Append, Change, Delete, Forget, Insert, Publish, Replace, Require, Sent, Take

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from astra_core.storage.catalogue import Shape
    from astra_core.storage.writes import Write

__all__ = ["Applier", "append_changes", "tip_of"]

_encode = msgspec.json.Encoder().encode

_APPEND = (
    "INSERT INTO events (stream, key, number, data) SELECT ?, ?, coalesce(max(number), 0) + 1, ? FROM events"
    " WHERE stream = ? AND key = ? RETURNING number"
)
_PUBLISH = "INSERT INTO outbox (topic, key, data, id) VALUES (?, ?, ?, ?)"
_SENT = "DELETE FROM outbox WHERE number <= ?"
_CHANGE = (
    "INSERT INTO changes (feed, seq, key) SELECT ?, coalesce(max(seq), 0) + 1, ? FROM changes WHERE feed = ?"
    " RETURNING seq"
)
_TIP = "SELECT coalesce(max(seq), 0) FROM changes WHERE feed = ?"
_POSITION = (
    "INSERT INTO positions (source, position) VALUES (?, ?)"
    " ON CONFLICT DO UPDATE SET position = excluded.position WHERE excluded.position > position"
)
_FORGET = "DELETE FROM positions WHERE source = ?"
_ADD_ONE = (
    "INSERT INTO counters (name, key, value) VALUES (?, ?, ?)"
    " ON CONFLICT DO UPDATE SET value = value + excluded.value RETURNING value"
)
_ADD_MANY = (
    "INSERT INTO counters (name, key, value) SELECT ?, amount.key, amount.value FROM json_each(?) AS amount WHERE true"
    " ON CONFLICT DO UPDATE SET value = value + excluded.value"
)
_BALANCE = "SELECT value FROM counters WHERE name = ? AND key = ?"
_TAKE = "UPDATE counters SET value = value - ? WHERE name = ? AND key = ? AND value >= ? RETURNING value"


class Applier:
    """Applies checked writes. A refused write raises, and the engine's savepoint undoes those before it."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self.tables = tables = {name: Table(shape) for name, shape in shapes.items()}
        self._apply: Mapping[type, Callable[..., int]] = {
            Insert: _on(tables, Table.insert),
            Replace: _on(tables, Table.replace),
            Delete: _on(tables, Table.delete),
            Require: _on(tables, Table.require),
            Append: _append,
            Publish: _publish,
            Sent: _sent,
            Change: _change,
            Add: _add,
            Take: _take,
            Forget: _forget,
        }

    def __call__(self, connection: sqlite3.Connection, writes: Sequence[Write]) -> tuple[int, ...]:
        """Return one result a write; raises `CommitConflict` for the first that is refused."""
        apply = self._apply
        return tuple([apply[type(write)](connection, place, write) for place, write in enumerate(writes)])

    def one(self, connection: sqlite3.Connection, place: int, write: Write) -> int:
        """Apply the write that stands at `place` of its commit."""
        return self._apply[type(write)](connection, place, write)


def _on(tables: Mapping[str, Table], method: Callable[..., int]) -> Callable[..., int]:
    def apply(connection: sqlite3.Connection, place: int, write: Any) -> int:
        return method(tables[write.collection], connection, place, write)

    return apply


def tip_of(connection: sqlite3.Connection, feed: str) -> int:
    """Return the number of the newest change of a feed, 0 before the first."""
    return _one(connection, _TIP, (feed,))


def append_changes(connection: sqlite3.Connection, feed: str, keys: Sequence[str], *, after: int) -> None:
    """Append keys to a feed whose tip is `after`."""
    for start in range(0, len(keys), ROWS):
        values: list[str | int] = []
        for number, key in enumerate(keys[start : start + ROWS], after + start + 1):
            values += (feed, number, key)
        connection.execute(_changes(len(values) // 3), values)


@cache
def _changes(rows: int) -> str:
    return f"INSERT INTO changes (feed, seq, key) VALUES {', '.join(['(?, ?, ?)'] * rows)}"  # noqa: S608


def _append(connection: sqlite3.Connection, place: int, write: Append) -> int:
    return _one(connection, _APPEND, (write.stream, write.key, write.data, write.stream, write.key))


def _publish(connection: sqlite3.Connection, place: int, write: Publish) -> int:
    return connection.execute(_PUBLISH, (write.topic, write.key, write.data, write.id)).lastrowid or 0


def _sent(connection: sqlite3.Connection, place: int, write: Sent) -> int:
    return connection.execute(_SENT, (write.through,)).rowcount


def _change(connection: sqlite3.Connection, place: int, write: Change) -> int:
    return _one(connection, _CHANGE, (write.feed, write.key, write.feed))


def _add(connection: sqlite3.Connection, place: int, write: Add) -> int:
    source, amounts = write.source, write.amounts
    skipped = source is not None and connection.execute(_POSITION, (source, write.position)).rowcount < 1
    if len(amounts) == 1:
        ((key, amount),) = amounts.items()
        if not skipped:
            return _one(connection, _ADD_ONE, (write.counters, key, amount))
        rows = connection.execute(_BALANCE, (write.counters, key)).fetchall()
        return int(rows[0][0]) if rows else 0
    if skipped or not amounts:
        return 0
    connection.execute(_ADD_MANY, (write.counters, _encode(dict(amounts)).decode()))
    return len(amounts)


def _take(connection: sqlite3.Connection, place: int, write: Take) -> int:
    rows = connection.execute(_TAKE, (write.amount, write.counters, write.key, write.amount)).fetchall()
    if not rows:
        raise CommitConflict(ConflictReason.EXHAUSTED, write=place, key=write.key)
    left = int(rows[0][0])
    if left == 0:
        for change in write.at_zero:
            _change(connection, place, change)
    return left


def _forget(connection: sqlite3.Connection, place: int, write: Forget) -> int:
    connection.execute(_FORGET, (write.source,))
    return 0


def _one(connection: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> int:
    """Return the one number a statement returns, run to its end: one left half-way would keep its savepoint open."""
    return int(connection.execute(statement, values).fetchall()[0][0])
