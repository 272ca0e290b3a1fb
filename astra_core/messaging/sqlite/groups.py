"""Units of work of groups: claims, reads, positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from astra_core.messaging.messages import GroupState, Received, TopicState
from astra_core.messaging.sqlite.append import trim

if TYPE_CHECKING:
    import sqlite3

    from astra_core.events import MessagesTrimmed
    from astra_core.messaging.retain import Retain

__all__ = ["Claimed", "acknowledge", "begin", "forget", "read", "states", "trim_named"]

_PAGE = 4 * 1024 * 1024
"""Bytes of data after which a page is full."""

_TOPIC = (
    "INSERT INTO topics (name) VALUES (?) ON CONFLICT (name) DO NOTHING",
    "UPDATE topics SET claims = claims + 1 WHERE name = ? RETURNING id, first, claims",
)
_GROUP = (
    "INSERT INTO groups (topic, name, position, claim) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (topic, name) DO UPDATE SET claim = excluded.claim RETURNING position"
)
_READ = "SELECT number, key, data, id FROM messages WHERE topic = ? AND number > ? ORDER BY number LIMIT ?"
_MOVE = "UPDATE groups SET position = max(position, ?) WHERE topic = ? AND name = ? AND claim = ? RETURNING position"
_FORGET = "DELETE FROM groups WHERE topic = (SELECT id FROM topics WHERE name = ?) AND name = ? RETURNING topic"
_NUMBER = "SELECT id FROM topics WHERE name = ?"
_TOPICS = "SELECT id, name, first, last, weight FROM topics ORDER BY name"
_GROUPS = "SELECT topic, name, position, lost FROM groups ORDER BY topic, name"


class Claimed(NamedTuple):
    """A group as its holder found it: the topic's number, the position, and the number of the claim."""

    topic: int
    position: int
    claim: int


def begin(connection: sqlite3.Connection, topic: str, group: str) -> Claimed:
    """Note a new claim, which ends the one before; a new group begins with the oldest message."""
    connection.execute(_TOPIC[0], (topic,))
    number, first, claim = connection.execute(_TOPIC[1], (topic,)).fetchall()[0]
    position = connection.execute(_GROUP, (number, group, first - 1, claim)).fetchall()[0][0]
    return Claimed(number, position, claim)


def read(connection: sqlite3.Connection, topic: tuple[int, str], after: int, limit: int) -> list[Received]:
    """Return a page of what follows number `after`; the rest of a page that is full by its bytes is not read."""
    number, name = topic
    messages, size = list[Received](), 0
    rows = connection.execute(_READ, (number, after, limit))
    for offset, key, data, identity in rows:
        messages.append(Received(offset, name, key, data, identity))
        size += len(data)
        if size >= _PAGE:
            break
    rows.close()
    return messages


def acknowledge(
    connection: sqlite3.Connection, held: Claimed, group: str, through: int, retain: Retain
) -> tuple[bool, MessagesTrimmed | None]:
    """Move the position if the claim is still in force, and drop what nobody needs; whether it was, and what went."""
    moved = connection.execute(_MOVE, (through, held.topic, group, held.claim)).fetchall()
    return (True, trim(connection, held.topic, retain)) if moved else (False, None)


def forget(connection: sqlite3.Connection, topic: str, group: str, retain: Retain) -> MessagesTrimmed | None:
    """Drop a group and what was kept for it alone."""
    found = connection.execute(_FORGET, (topic, group)).fetchall()
    return trim(connection, found[0][0], retain) if found else None


def trim_named(connection: sqlite3.Connection, topic: str, retain: Retain) -> MessagesTrimmed | None:
    """See `append.trim`."""
    return trim(connection, connection.execute(_NUMBER, (topic,)).fetchall()[0][0], retain)


def states(connection: sqlite3.Connection) -> list[TopicState]:
    """Return every topic with its groups, as of one moment, which the reader ends where a statement fails."""
    connection.execute("BEGIN")
    topics = connection.execute(_TOPICS).fetchall()
    groups = connection.execute(_GROUPS).fetchall()
    connection.execute("COMMIT")
    return [
        TopicState(
            name,
            last,
            last - first + 1,
            weight,
            tuple(
                GroupState(group, position, last - max(position, first - 1), lost)
                for topic, group, position, lost in groups
                if topic == number
            ),
        )
        for number, name, first, last, weight in topics
    ]
