"""Queries walk an index in its order: SQLite never sorts and never reads a whole table."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import product

from astra_core.storage import Collection, Index
from astra_core.storage.catalogue import Catalogue
from astra_core.storage.sqlite.queries import _build, _Kind
from astra_core.storage.sqlite.schema import schema

THINGS = Collection(
    name="things",
    indexes=(
        Index(name="place", parts=3),
        Index(name="slug", parts=3, unique=True),
        Index(name="tag", parts=3, multi=True),
        Index(name="alias", parts=3, unique=True, multi=True),
    ),
)


def test_a_query_of_a_deferred_index_walks_what_is_in_order_and_reads_what_waits() -> None:
    """Only the entries that wait are looked at one by one, and sorted: there are few."""
    marks = Collection(name="things", indexes=(Index(name="mark", parts=2, multi=True, deferred=True),))
    shapes = Catalogue([marks]).shapes
    with closing(sqlite3.connect(":memory:")) as connection:
        schema(shapes).ensure(connection)
        flags = (False, True)
        for kind in (_Kind("things", "mark", *each) for each in product((1, 2), flags, flags, flags)):
            if kind.below and kind.prefix == 2:
                continue
            for statement in _build(shapes["things"], kind):
                values = ["x"] * statement.count("?")
                plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
                assert [step for step in plan if step.startswith("SEARCH x:things:mark USING PRIMARY KEY (p0=?")], plan
                scans = [step for step in plan if step.startswith("SCAN")]
                assert set(scans) <= {"SCAN x:things:mark:fresh", "SCAN (subquery-3)", "SCAN e"}, (statement, plan)


def test_no_query_sorts_or_scans_a_table() -> None:
    """Every shape of query, on every kind of index, is a walk over that index."""
    shapes = Catalogue([THINGS]).shapes
    connection = sqlite3.connect(":memory:")
    schema(shapes).ensure(connection)
    flags = (False, True)
    kinds = product(("place", "slug", "tag", "alias"), range(4), flags, flags, flags)
    for kind in (_Kind("things", *each) for each in kinds):
        if kind.below and kind.prefix == 3:
            continue
        for statement in _build(shapes["things"], kind):
            values = ["x"] * statement.count("?")
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            assert not [step for step in plan if "TEMP B-TREE" in step], (statement, plan)
            assert not [step for step in plan if step.startswith("SCAN r")], (statement, plan)
            if kind.prefix or kind.below or kind.after:
                assert not [step for step in plan if step.startswith("SCAN e")], (statement, plan)
    connection.close()
