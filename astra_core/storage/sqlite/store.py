"""The store over the embedded engine."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from astra_core.events import Listeners
from astra_core.sqlite import Database
from astra_core.storage.catalogue import Catalogue, check_limit, check_page, check_texts
from astra_core.storage.changes import Changes
from astra_core.storage.history import Event, Message
from astra_core.storage.sqlite.apply import Applier
from astra_core.storage.sqlite.bulk import Bulk, Commit
from astra_core.storage.sqlite.deferred import SETTLE_AT, Settler
from astra_core.storage.sqlite.queries import Finder
from astra_core.storage.sqlite.schema import schema

if TYPE_CHECKING:
    import random as random_module
    import sqlite3
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from astra_core.clock import Clock
    from astra_core.sqlite import Connect, Limits, Pool
    from astra_core.storage.records import Collection, Page, Query, Record
    from astra_core.storage.writes import Write

__all__ = ["SqliteStore"]

_log = logging.getLogger("astra.storage")

_TRIMMED = 10_000
"""The most changes that one trim drops."""

_encode = msgspec.json.Encoder().encode

_COUNTS = "SELECT c.key, c.value FROM json_each(?) AS k CROSS JOIN counters AS c ON c.name = ? AND c.key = k.value"
_ENDS = (
    "SELECT coalesce((SELECT min(seq) FROM changes WHERE feed = ?), 1),"
    " coalesce((SELECT max(seq) FROM changes WHERE feed = ?), 0)"
)
_CHANGES = "SELECT seq, key FROM changes WHERE feed = ? AND seq > ? ORDER BY seq LIMIT ?"
_TRIM = "DELETE FROM changes WHERE feed = ? AND seq <= ?"
_EVENTS = "SELECT number, data FROM events WHERE stream = ? AND key = ? AND number > ? ORDER BY number LIMIT ?"
_WAITING = "SELECT coalesce((SELECT max(number) FROM outbox) - (SELECT min(number) FROM outbox) + 1, 0)"
"""Numbers of the outbox have no holes: they are given in the transaction that keeps them, and only the oldest go."""
_MESSAGES = "SELECT number, topic, key, data, id FROM outbox WHERE number > ? ORDER BY number LIMIT ?"


class SqliteStore:
    """`Store`, `ChangesFeed` and `History` in one SQLite file, for one or several processes of one machine.

    `writer` must have one thread. Building does no I/O; `open` makes file and schema, `close` leaves the pools to
    their owner.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        collections: Sequence[Collection],
        writer: Pool,
        readers: Pool,
        limits: Limits | None = None,
        clock: Clock | None = None,
        random: random_module.Random | None = None,
        listeners: Listeners | None = None,
        connect: Connect | None = None,
        settle_at: int = SETTLE_AT,
    ) -> None:
        """`settle_at`: entries of a deferred index that wait before they are moved to their places."""
        self._catalogue = Catalogue(collections)
        self._applier = Applier(self._catalogue.shapes)
        self._finder = Finder(self._catalogue.shapes)
        self.database = Database(
            path,
            schema=schema(self._catalogue.shapes),
            writer=writer,
            readers=readers,
            limits=limits,
            clock=clock,
            random=random,
            listeners=listeners,
            connect=connect,
            together=Bulk(self._applier),
        )
        self._settler = Settler(
            self.database, self._catalogue.shapes, listeners=listeners or Listeners(), settle_at=settle_at
        )

    @property
    def limits(self) -> Limits:
        """See `Database.limits`."""
        return self.database.limits

    @limits.setter
    def limits(self, new: Limits) -> None:
        self.database.limits = new

    def __repr__(self) -> str:
        return f"SqliteStore({self.database!r})"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """See `Database.open`. A file that it made is told in one line: at another path than meant, all seems lost."""
        await self.database.open()
        if self.database.is_new:
            _log.info("made a new store at %s", self.database.path.absolute())

    async def close(self) -> None:
        """See `Database.close`."""
        await self._settler.close()
        await self.database.close()

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """See `Store.commit`."""
        self._catalogue.check(writes)
        results = await self.database.write(Commit(self._applier, tuple(writes)))
        self._settler.committed(writes)
        return results

    async def get(self, collection: str, key: str) -> Record | None:
        """See `Store.get`."""
        self._catalogue.check_key(collection, key)
        return await self.database.read(lambda connection: self._finder.get(connection, collection, key))

    async def find(self, query: Query) -> Page:
        """See `Store.find`."""
        self._catalogue.check_query(query)
        return await self.database.read(lambda connection: self._finder.find(connection, query))

    async def counts(self, counters: str, keys: Sequence[str]) -> Mapping[str, int]:
        """See `Store.counts`."""
        check_texts(counters, *keys)
        values = _encode(list(keys)).decode(), counters
        rows = await self.database.read(lambda connection: connection.execute(_COUNTS, values).fetchall())
        return dict.fromkeys(keys, 0) | dict(rows)

    async def positions(self) -> Mapping[str, int]:
        """See `Store.positions`."""
        statement = "SELECT source, position FROM positions"
        return dict(await self.database.read(lambda connection: connection.execute(statement).fetchall()))

    async def tip(self, feed: str) -> int:
        """See `ChangesFeed.tip`."""
        check_texts(feed)
        return (await self.database.read(lambda connection: _ends(connection, feed)))[1]

    async def changes(self, feed: str, *, after: int, limit: int = 1000) -> Changes:
        """See `ChangesFeed.changes`."""
        check_texts(feed)
        check_page(after, limit)
        return await self.database.read(lambda connection: _changes(connection, feed, after, limit))

    async def moved(self) -> int:
        """See `ChangesFeed.moved`."""
        return self.database.data_version()

    async def trim(self, feed: str, *, keep: int) -> int:
        """See `ChangesFeed.trim`."""
        check_texts(feed)
        check_limit(keep)
        return await self.database.write(lambda connection: _trim(connection, feed, keep))

    async def events(self, stream: str, key: str, *, after: int = 0, limit: int = 1000) -> tuple[Event, ...]:
        """See `History.events`."""
        check_texts(stream, key)
        check_page(after, limit)
        values = stream, key, after, limit
        rows = await self.database.read(lambda connection: connection.execute(_EVENTS, values).fetchall())
        return tuple(Event(*row) for row in rows)

    async def messages(self, *, after: int = 0, limit: int = 1000) -> tuple[Message, ...]:
        """See `History.messages`."""
        check_page(after, limit)
        rows = await self.database.read(lambda connection: connection.execute(_MESSAGES, (after, limit)).fetchall())
        return tuple(Message(*row) for row in rows)

    async def waiting(self) -> int:
        """See `History.waiting`."""
        rows = await self.database.read(lambda connection: connection.execute(_WAITING).fetchall())
        return int(rows[0][0])


def _ends(connection: sqlite3.Connection, feed: str) -> tuple[int, int]:
    first, tip = connection.execute(_ENDS, (feed, feed)).fetchall()[0]
    return first, tip


def _changes(connection: sqlite3.Connection, feed: str, after: int, limit: int) -> Changes:
    """Read rows first: as numbers have no holes, the ends are needed only when the next number is not there.

    The two statements see two moments. A change committed between them must not be skipped, so without a gap the
    reader goes on from where it was.
    """
    rows = connection.execute(_CHANGES, (feed, after, limit)).fetchall()
    if rows and rows[0][0] == after + 1:
        return Changes(tuple([key for _, key in rows]), rows[-1][0])
    first, tip = _ends(connection, feed)
    gap = after > tip or after + 1 < first
    return Changes((), tip if gap else after, gap=gap)


def _trim(connection: sqlite3.Connection, feed: str, keep: int) -> int:
    first, tip = _ends(connection, feed)
    return connection.execute(_TRIM, (feed, min(tip - keep, first - 1 + _TRIMMED))).rowcount
