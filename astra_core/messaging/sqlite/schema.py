"""How topics lie in SQLite: their messages in one table, appended at its end, and their groups in another."""

from __future__ import annotations

from astra_core.sqlite import Schema

__all__ = ["SCHEMA"]

_APPLICATION = 0x4173746D
"""The letters "Astm", which `file` and `PRAGMA application_id` show."""

_FIRST = (
    """
    CREATE TABLE topics (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        first INTEGER NOT NULL DEFAULT 1,
        last INTEGER NOT NULL DEFAULT 0,
        weight INTEGER NOT NULL DEFAULT 0,
        claims INTEGER NOT NULL DEFAULT 0
    )
    """,
    """
    CREATE TABLE messages (
        topic INTEGER NOT NULL,
        number INTEGER NOT NULL,
        weight INTEGER NOT NULL,
        key TEXT NOT NULL,
        id TEXT NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (topic, number)
    )
    """,
    """
    CREATE TABLE groups (
        topic INTEGER NOT NULL,
        name TEXT NOT NULL,
        position INTEGER NOT NULL,
        claim INTEGER NOT NULL,
        lost INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (topic, name)
    ) WITHOUT ROWID
    """,
)
"""Numbers of a topic have no holes: `first` to `last` are there, so what is kept and what lies behind is subtraction.

`weight` stands before the texts and the data, so that adding weights up reads no page that only holds data. `claims`
numbers the claims of all groups of a topic, `claim` is the one in force.
"""

SCHEMA = Schema(application_id=_APPLICATION, migrations=(_FIRST,))
