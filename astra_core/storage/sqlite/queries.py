"""Reads of collections: one statement a shape of query, built when first asked for."""

# ruff: noqa: S608 - statements are put together from identifiers that the catalogue has checked
from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from astra_core.storage.records import Page, Record
from astra_core.storage.sqlite.schema import columns, fresh_name, index_name, table_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from astra_core.storage.catalogue import Shape
    from astra_core.storage.records import Index, Query
    from astra_core.storage.writes import Scalar

__all__ = ["Finder"]


class _Kind(NamedTuple):
    """What the text of a query's statement depends on."""

    collection: str
    name: str
    prefix: int
    below: bool
    after: bool
    descending: bool


class _Statements(NamedTuple):
    page: str
    filtered: str
    edge: str


class Finder:
    """Answers `get` and `find` on a connection that cannot write."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self._get = {name: f"SELECT version, value FROM {table_name(s)} WHERE key = ?" for name, s in shapes.items()}
        self._statements = cache(lambda kind: _build(shapes[kind.collection], kind))

    def get(self, connection: sqlite3.Connection, collection: str, key: str) -> Record | None:
        """See `Store.get`."""
        rows = connection.execute(self._get[collection], (key,)).fetchall()
        return Record(key, *rows[0]) if rows else None

    def find(self, connection: sqlite3.Connection, query: Query) -> Page:
        """See `Store.find`."""
        kind = _Kind(
            query.collection,
            query.index,
            len(query.prefix),
            query.below is not None,
            query.after is not None,
            query.descending,
        )
        statements: _Statements = self._statements(kind)
        bounds: list[Scalar] = [*query.prefix]
        if query.below is not None:
            bounds.append(query.below)
        if query.after is not None:
            bounds.extend(query.after[len(query.prefix) :])
        if not query.contains:
            rows = connection.execute(statements.page, (*bounds, _one_more(query))).fetchall()
            return _page(rows, query.limit, None)
        return _filtered(connection, statements, bounds, query)


def _filtered(connection: sqlite3.Connection, statements: _Statements, bounds: list[Scalar], query: Query) -> Page:
    """Look at no more than `scan` entries; both statements see one snapshot, which the reader ends where one fails."""
    connection.execute("BEGIN")
    values = (*bounds, query.scan, query.contains, _one_more(query))
    rows = connection.execute(statements.filtered, values).fetchall()
    edge = None
    if len(rows) <= query.limit:
        found = connection.execute(statements.edge, (*bounds, query.scan - 1)).fetchall()
        edge = found[0] if len(found) == 2 else None
    connection.execute("COMMIT")
    return _page(rows, query.limit, edge)


def _one_more(query: Query) -> int:
    return min(query.limit + 1, sys.maxsize)  # SQLite knows no larger number


def _page(rows: list[tuple[Any, ...]], limit: int, edge: tuple[Scalar, ...] | None) -> Page:
    """Rows are key, version, value and the parts; one row more than `limit` says that there is a next page."""
    if len(rows) > limit:
        last = rows[limit - 1]
        edge = (*last[3:], last[0])
    return Page(tuple([Record(*row[:3]) for row in rows[:limit]]), edge)


def _build(shape: Shape, kind: _Kind) -> _Statements:
    index = shape.indexes[kind.name]
    parts = columns(index)
    where = _where(index, kind)
    way = " DESC" if kind.descending else ""
    order = ", ".join(f"e.{column}{way}" for column in (parts if index.unique else (*parts, "key"))[kind.prefix :])
    tail = f" WHERE {where}" + (f" ORDER BY {order}" if order else "")
    entry = ", ".join(f"e.{column}" for column in parts)
    if index.multi:
        edges = f"{_entries(shape, index)} AS e"
        source = f"{edges} CROSS JOIN {table_name(shape)} AS r ON r.key = e.key"
        row = f"e.key AS key, r.version, r.value, {entry}"
        text = "r.text"
    else:
        edges = source = f"{table_name(shape)} AS e INDEXED BY {index_name(shape, index)}"
        row = f"e.key AS key, e.version, e.value, {entry}"
        text = "e.text"
    kept = ", ".join(("key", "version", "value", *parts))
    return _Statements(
        page=f"SELECT {row} FROM {source}{tail} LIMIT ?",
        # SQLite runs a subquery that has a LIMIT as it stands, in its order, and stops it when the outer one is full.
        filtered=f"SELECT {kept} FROM (SELECT {row}, {text} AS text FROM {source}{tail} LIMIT ?)"
        " WHERE instr(text, ?) > 0 LIMIT ?",
        edge=f"SELECT {entry}, e.key FROM {edges}{tail} LIMIT 2 OFFSET ?",
    )


def _entries(shape: Shape, index: Index) -> str:
    """Where the entries of a multi-valued index are. SQLite takes what `_where` says into both halves of the union."""
    if not index.deferred:
        return index_name(shape, index)
    row = ", ".join((*columns(index), "key"))
    return f"(SELECT {row} FROM {index_name(shape, index)} UNION ALL SELECT {row} FROM {fresh_name(shape, index)})"


def _where(index: Index, kind: _Kind) -> str:
    parts = columns(index)
    terms = [] if index.multi else [f"e.{parts[0]} IS NOT NULL"]
    terms += [f"e.{column} = ?" for column in parts[: kind.prefix]]
    if kind.below:
        terms.append(f"e.{parts[kind.prefix]} < ?")
    if kind.after:
        free = [f"e.{column}" for column in (*parts, "key")[kind.prefix :]]
        marks = ", ".join("?" * len(free))
        terms.append(f"({', '.join(free)}) {'<' if kind.descending else '>'} ({marks})")
    return " AND ".join(terms) or "true"
