"""Units of work that add messages and drop them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astra_core.events import MessagesTrimmed
from astra_core.messaging.messages import weight

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from astra_core.messaging.messages import Outgoing
    from astra_core.messaging.retain import Retain

__all__ = ["Append", "more_to_trim", "trim", "units"]

_TOGETHER = 1_000
_TOGETHER_BYTES = 4 * 1024 * 1024
"""The most messages, and bytes of data, that one unit appends."""

_TRIMMED = 5_000
"""The most messages that one unit drops: some 10 ms, for which other writers of the file wait."""

_GROW = (
    "UPDATE topics SET last = last + ?, weight = weight + ? WHERE name = ? RETURNING id, first, last, weight",
    "INSERT INTO topics (name) VALUES (?)",
)
_INSERT = "INSERT INTO messages (topic, number, weight, key, id, data) VALUES (?, ?, ?, ?, ?, ?)"
_OLDEST = "SELECT number, weight FROM messages WHERE topic = ? ORDER BY number LIMIT ?"
_LOSE = "UPDATE groups SET lost = lost + ? - max(position, ?) WHERE topic = ? AND position < ?"
_LOSERS = "SELECT name, ? - max(position, ?) FROM groups WHERE topic = ? AND position < ?"
_SLOWEST = (
    "SELECT t.name, t.first, (SELECT min(position) FROM groups WHERE topic = t.id) FROM topics AS t WHERE t.id = ?"
)
_WEIGHT = "SELECT total(weight) FROM messages WHERE topic = ? AND number <= ?"
_DELETE = "DELETE FROM messages WHERE topic = ? AND number <= ?"
_SHRINK = "UPDATE topics SET first = ?, weight = weight - ? WHERE id = ?"


def units(messages: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    """Cut a publish into units of work, in order, so that none holds the file for long."""
    begin = size = 0
    for place, message in enumerate(messages):
        if place - begin == _TOGETHER or (size and size + len(message.data) > _TOGETHER_BYTES):
            yield messages[begin:place]
            begin, size = place, 0
        size += len(message.data)
    if messages:
        yield messages[begin:]


class Append:
    """Appends messages, and drops the oldest of each topic where there is no room for them any more."""

    def __init__(self, messages: Sequence[Outgoing], retain: Retain) -> None:
        self._retain = retain
        self._topics: dict[str, list[tuple[int, str, str, bytes]]] = {}
        for message in messages:
            row = weight(message), message.key, message.id, message.data
            self._topics.setdefault(message.topic, []).append(row)

    def __call__(self, connection: sqlite3.Connection) -> list[MessagesTrimmed]:
        """Return what was dropped."""
        trims = [self._append(connection, topic, rows) for topic, rows in self._topics.items()]
        return [trimmed for trimmed in trims if trimmed is not None]

    def _append(self, connection: sqlite3.Connection, topic: str, rows: list[Any]) -> MessagesTrimmed | None:
        grow = len(rows), sum(row[0] for row in rows), topic
        found = connection.execute(_GROW[0], grow).fetchall()
        if not found:
            connection.execute(_GROW[1], (topic,))
            found = connection.execute(_GROW[0], grow).fetchall()
        number, first, last, weighs = found[0]
        before = last - len(rows)
        connection.executemany(_INSERT, ((number, before + place, *row) for place, row in enumerate(rows, 1)))
        if last - first < self._retain.messages and weighs <= self._retain.weight:
            return None
        return self._bound(connection, topic, *found[0])

    def _bound(
        self, connection: sqlite3.Connection, name: str, topic: int, first: int, last: int, weighs: int
    ) -> MessagesTrimmed | None:
        """Drop the oldest as far as the bounds ask for; what is too much for one unit goes with the next."""
        cut, gone = first - 1, 0
        oldest = connection.execute(_OLDEST, (topic, _TRIMMED))
        for number, weight_of_one in oldest:
            fits = last - number < self._retain.messages and weighs - gone <= self._retain.weight
            if fits or number == last:
                break
            cut, gone = number, gone + weight_of_one
        oldest.close()
        if cut < first:
            return None
        bounds = cut, first - 1, topic, cut
        lost = dict(connection.execute(_LOSERS, bounds).fetchall())
        connection.execute(_LOSE, bounds)
        _drop(connection, topic, cut, gone)
        return MessagesTrimmed(name, cut - first + 1, lost)


def trim(connection: sqlite3.Connection, topic: int, retain: Retain) -> MessagesTrimmed | None:
    """Drop what every group has acknowledged, once that is more than the slack: see `more_to_trim`."""
    name, first, slowest = connection.execute(_SLOWEST, (topic,)).fetchall()[0]
    if slowest is None or slowest - first < retain.slack:
        return None
    cut = min(slowest, first + _TRIMMED - 1)
    if cut < first:
        return None
    gone = connection.execute(_WEIGHT, (topic, cut)).fetchall()[0][0]
    _drop(connection, topic, cut, int(gone))
    return MessagesTrimmed(name, cut - first + 1, {})


def more_to_trim(trimmed: MessagesTrimmed | None) -> bool:
    """Whether `trim` dropped as much as one unit may, so that another one may find more."""
    return trimmed is not None and trimmed.count >= _TRIMMED


def _drop(connection: sqlite3.Connection, topic: int, cut: int, gone: int) -> None:
    connection.execute(_DELETE, (topic, cut))
    connection.execute(_SHRINK, (cut + 1, gone, topic))
