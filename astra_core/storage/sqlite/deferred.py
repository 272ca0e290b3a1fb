"""Deferred indexes: an entry is appended where the newest are, and moves to its place in order together with others.

An entry of an index whose order is no order of time lies on a page of its own, which each commit writes out for it:
that was the dearest part of a commit. Here it goes to the end of a table that has no order; when many wait there, they
are moved in the order of the index, so that those of one page are written with it at once. (The idea is that of the
log-structured merge-tree, O'Neil and others 1996, with two levels.) An entry is in one of the two tables, never in
both: each move is one transaction, and who reads asks both tables.
"""

# ruff: noqa: S608 - statements are put together from identifiers that the catalogue has checked
from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from astra_core.errors import StorageError
from astra_core.events import EntriesWaiting
from astra_core.storage.sqlite.schema import columns, fresh_name, index_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from astra_core.events import Listener
    from astra_core.sqlite import Database
    from astra_core.storage.catalogue import Shape
    from astra_core.storage.records import Index
    from astra_core.storage.writes import Write

__all__ = ["SETTLE_AT", "Settler"]

logger = logging.getLogger(__name__)

SETTLE_AT = 8_192
"""Entries that wait before they are moved: a read of the index looks through all of them, in half a millisecond."""
_AT_ONCE = 512
"""Entries moved by one unit of work: one or two milliseconds, in the transaction of whatever is committed then."""
_PASS = 4 * SETTLE_AT
"""Entries put in order and moved before the next look: so many are read in time however many have come to wait."""
_LOOK = 8
"""How many times a table is looked at while it fills: counting costs nothing, but a read in another thread."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[int]).decode


class _Moves:
    """The statements that move the entries of one index."""

    def __init__(self, shape: Shape, index: Index) -> None:
        fresh, settled = fresh_name(shape, index), index_name(shape, index)
        parts = ", ".join((*columns(index), "key"))
        wanted = ", ".join(f"n.{column}" for column in (*columns(index), "key"))
        self.count = f"SELECT coalesce((SELECT max(rowid) FROM {fresh}) - (SELECT min(rowid) FROM {fresh}) + 1, 0)"
        # One row: each row fetched would give up the interpreter, and win it back from who commits meanwhile.
        self.order = (
            "SELECT json_group_array(number) FROM (SELECT number FROM"
            f" (SELECT rowid AS number, {parts} FROM {fresh} ORDER BY rowid LIMIT {_PASS}) ORDER BY {parts})"
        )
        self.copy = (
            f"INSERT OR IGNORE INTO {settled} ({parts})"
            f" SELECT {wanted} FROM json_each(?) AS moved CROSS JOIN {fresh} AS n ON n.rowid = moved.value"
        )
        self.drop = f"DELETE FROM {fresh} WHERE rowid IN (SELECT value FROM json_each(?))"

    def waiting(self, connection: sqlite3.Connection) -> int:
        """Return from the oldest entry that waits to the newest how many were added: no more than that wait."""
        return int(connection.execute(self.count).fetchall()[0][0])

    def in_order(self, connection: sqlite3.Connection) -> list[int]:
        """Return the numbers of the oldest entries that wait, in the order of the index."""
        return _decode(connection.execute(self.order).fetchall()[0][0])

    def move(self, connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Move entries. What was moved or deleted meanwhile is not there, and what has its number now may move too."""
        told = _encode(numbers).decode()
        connection.execute(self.copy, (told,))
        connection.execute(self.drop, (told,))


class Settler:
    """Moves entries of deferred indexes when `settle_at` of one wait, beside whatever else is committed.

    It goes on until fewer wait. For each `settle_at` that do, one more move lies between two commits of a caller: what
    waits grows only until as much is moved there as callers add. A move is a unit of work of its own, so the lock is
    let go as often as ever. Several processes may move entries of one file: what one has moved the other does not
    find. `listeners` are told `EntriesWaiting` at each look.
    """

    def __init__(
        self, database: Database, shapes: Mapping[str, Shape], *, listeners: Listener, settle_at: int = SETTLE_AT
    ) -> None:
        self._database = database
        self._listeners = listeners
        self._moves = {
            (shape.name, index.name): _Moves(shape, index)
            for shape in shapes.values()
            for index in shape.multi
            if index.deferred
        }
        self._settle_at = settle_at
        self._look_every = max(1, settle_at // _LOOK)
        self._committed = self._look_every  # look at the first commit, too: a process before may have left many
        self._task: asyncio.Task[None] | None = None

    def committed(self, writes: Sequence[Write]) -> None:
        """Take note that so much was written; look at what waits when that may be much."""
        self._committed += len(writes)
        if self._committed >= self._look_every and self._moves and self._task is None:
            self._committed = 0
            self._task = asyncio.get_running_loop().create_task(self._settle())
            self._task.add_done_callback(self._note_end)

    async def close(self) -> None:
        """Stop; what waits is moved another time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _settle(self) -> None:
        """Give each index one pass after the other, as long as one of them needs it."""
        behind = True
        while behind:
            behind = False
            for (collection, index), moves in self._moves.items():
                waiting = await self._database.read(moves.waiting)
                self._listeners(EntriesWaiting(collection, index, waiting))
                if waiting >= self._settle_at:
                    behind = True
                    await self._pass(moves, waiting // self._settle_at)

    async def _pass(self, moves: _Moves, together: int) -> None:
        """Move the oldest entries, with `together` moves between two commits of the same caller."""
        numbers = await self._database.read(moves.in_order)
        parts = [numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE)]
        for start in range(0, len(parts), together):
            await asyncio.gather(
                *(self._database.write(partial(moves.move, numbers=part)) for part in parts[start : start + together])
            )

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StorageError):
            logger.info("entries of deferred indexes wait for longer: %s", error)
        elif error is not None:
            logger.error("entries of deferred indexes were not moved", exc_info=error)
