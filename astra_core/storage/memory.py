"""A store in the memory of one process: the model the others are held against, and a store for tests and trials."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from astra_core.errors import CommitConflict, ConflictReason, StorageError, StoreUnavailable
from astra_core.storage.catalogue import Catalogue, check_limit, check_page, check_texts
from astra_core.storage.changes import Changes
from astra_core.storage.history import Event, Message
from astra_core.storage.memory_table import MemoryTable, entries_of
from astra_core.storage.records import Record
from astra_core.storage.writes import Add, Append, Change, Delete, Forget, Insert, Publish, Replace, Require, Sent, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from astra_core.storage.records import Collection, Page, Query
    from astra_core.storage.writes import Write

__all__ = ["MemoryStore"]

_TRIMMED = 10_000
"""The most changes that one trim drops."""
_NO_CHANGES: dict[int, str] = {}
_NO_EVENTS: list[bytes] = []


class MemoryStore:
    """`Store`, `ChangesFeed` and `History` over dictionaries. Keeps nothing when the process ends."""

    def __init__(self, *, collections: Sequence[Collection]) -> None:
        self._catalogue = Catalogue(collections)
        self._tables = {name: MemoryTable(shape) for name, shape in self._catalogue.shapes.items()}
        self._counters: dict[tuple[str, str], int] = {}
        self._positions: dict[str, int] = {}
        self._feeds: defaultdict[str, dict[int, str]] = defaultdict(dict)
        self._streams: defaultdict[tuple[str, str], list[bytes]] = defaultdict(list)
        self._outbox: dict[int, tuple[str, str, bytes, str]] = {}
        self._published = 0
        self._undo: list[Callable[[], object]] = []
        self._commits = 0
        self._open = False
        self._apply: Mapping[type, Callable[..., int]] = {
            Insert: self._insert,
            Replace: self._replace,
            Delete: self._delete,
            Require: self._require,
            Append: self._append,
            Publish: self._publish,
            Sent: self._sent,
            Change: self._change,
            Add: self._add,
            Take: self._take,
            Forget: self._forget,
        }

    def __repr__(self) -> str:
        return f"MemoryStore({', '.join(f'{name}={len(table.rows)}' for name, table in self._tables.items())})"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Begin to serve."""
        self._open = True

    async def close(self) -> None:
        """Refuse every further call."""
        self._open = False

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """See `Store.commit`."""
        self._catalogue.check(writes)
        self._serve()
        results: list[int] = []
        try:
            for place, write in enumerate(writes):
                results.append(self._apply[type(write)](place, write))
        except BaseException:
            while self._undo:
                self._undo.pop()()
            raise
        self._undo.clear()
        self._commits += 1
        return tuple(results)

    async def get(self, collection: str, key: str) -> Record | None:
        """See `Store.get`."""
        self._catalogue.check_key(collection, key)
        self._serve()
        row = self._tables[collection].rows.get(key)
        return None if row is None else Record(key, row[0], row[1])

    async def find(self, query: Query) -> Page:
        """See `Store.find`."""
        self._catalogue.check_query(query)
        self._serve()
        table = self._tables[query.collection]
        return table.indexes[query.index].page(query, table.rows)

    async def counts(self, counters: str, keys: Sequence[str]) -> Mapping[str, int]:
        """See `Store.counts`."""
        check_texts(counters, *keys)
        self._serve()
        return {key: self._counters.get((counters, key), 0) for key in keys}

    async def positions(self) -> Mapping[str, int]:
        """See `Store.positions`."""
        self._serve()
        return dict(self._positions)

    async def tip(self, feed: str) -> int:
        """See `ChangesFeed.tip`."""
        check_texts(feed)
        self._serve()
        return next(reversed(self._feeds.get(feed, _NO_CHANGES)), 0)

    async def changes(self, feed: str, *, after: int, limit: int = 1000) -> Changes:
        """See `ChangesFeed.changes`."""
        check_texts(feed)
        check_page(after, limit)
        self._serve()
        rows = self._feeds.get(feed, _NO_CHANGES)
        first, tip = next(iter(rows), 1), next(reversed(rows), 0)
        if after > tip or after + 1 < first:
            return Changes((), tip, gap=True)
        last = min(tip, after + limit)
        return Changes(tuple(rows[seq] for seq in range(after + 1, last + 1)), last)

    async def moved(self) -> int:
        """See `ChangesFeed.moved`."""
        self._serve()
        return self._commits

    async def trim(self, feed: str, *, keep: int) -> int:
        """See `ChangesFeed.trim`."""
        check_texts(feed)
        check_limit(keep)
        self._serve()
        rows = self._feeds.get(feed, _NO_CHANGES)
        old = list(islice(rows, min(_TRIMMED, max(0, len(rows) - keep))))
        for seq in old:
            del rows[seq]
        return len(old)

    async def events(self, stream: str, key: str, *, after: int = 0, limit: int = 1000) -> tuple[Event, ...]:
        """See `History.events`."""
        check_texts(stream, key)
        check_page(after, limit)
        self._serve()
        rows = self._streams.get((stream, key), _NO_EVENTS)
        return tuple(Event(after + place, data) for place, data in enumerate(rows[after : after + limit], 1))

    async def messages(self, *, after: int = 0, limit: int = 1000) -> tuple[Message, ...]:
        """See `History.messages`."""
        check_page(after, limit)
        self._serve()
        waiting = ((number, row) for number, row in self._outbox.items() if number > after)
        return tuple(Message(number, *row) for number, row in islice(waiting, limit))

    async def waiting(self) -> int:
        """See `History.waiting`."""
        self._serve()
        return len(self._outbox)

    def _serve(self) -> None:
        if not self._open:
            raise StoreUnavailable("memory: the store is closed")

    def _insert(self, place: int, write: Insert) -> int:
        table = self._tables[write.collection]
        if write.key in table.rows:
            raise CommitConflict(ConflictReason.EXISTS, write=place, key=write.key)
        self._put(table, place, write, 1)
        return 1

    def _replace(self, place: int, write: Replace) -> int:
        table = self._tables[write.collection]
        self._at_version(table, place, write.key, write.version)
        self._put(table, place, write, write.version + 1)
        return write.version + 1

    def _delete(self, place: int, write: Delete) -> int:
        table = self._tables[write.collection]
        if write.version is not None:
            self._at_version(table, place, write.key, write.version)
        elif write.key not in table.rows:
            return 0
        version = table.rows[write.key][0]
        self._drop(table, write.key)
        return version

    def _require(self, place: int, write: Require) -> int:
        table = self._tables[write.collection]
        if write.version:
            self._at_version(table, place, write.key, write.version)
        elif write.key in table.rows:
            raise CommitConflict(ConflictReason.EXISTS, write=place, key=write.key)
        return write.version

    @staticmethod
    def _at_version(table: MemoryTable, place: int, key: str, version: int) -> None:
        row = table.rows.get(key)
        if row is None or row[0] != version:
            reason = ConflictReason.MISSING if row is None else ConflictReason.VERSION
            raise CommitConflict(reason, write=place, key=key)

    def _put(self, table: MemoryTable, place: int, write: Insert | Replace, version: int) -> None:
        entries = entries_of(write.entries, write.key)
        for index in table.shape.unique:
            for entry in entries.get(index.name, ()):
                if table.indexes[index.name].holder(entry) not in {None, write.key}:
                    raise CommitConflict(ConflictReason.UNIQUE, write=place, key=write.key, index=index.name)
        if write.key in table.rows:
            self._drop(table, write.key)
        table.put(write.key, (version, write.value, entries, write.text))
        self._undo.append(lambda: table.take_out(write.key))

    def _drop(self, table: MemoryTable, key: str) -> None:
        row = table.take_out(key)
        self._undo.append(lambda: table.put(key, row))

    def _append(self, place: int, write: Append) -> int:
        rows = self._streams[write.stream, write.key]
        rows.append(write.data)
        self._undo.append(rows.pop)
        return len(rows)

    def _publish(self, place: int, write: Publish) -> int:
        number = self._published = self._published + 1
        self._outbox[number] = write.topic, write.key, write.data, write.id
        self._undo.append(self._unpublish)
        return number

    def _unpublish(self) -> None:
        del self._outbox[self._published]
        self._published -= 1

    def _sent(self, place: int, write: Sent) -> int:
        before = self._outbox
        self._outbox = {number: row for number, row in before.items() if number > write.through}
        self._undo.append(lambda: setattr(self, "_outbox", before))
        return len(before) - len(self._outbox)

    def _change(self, place: int, write: Change) -> int:
        rows = self._feeds[write.feed]
        seq = next(reversed(rows), 0) + 1
        rows[seq] = write.key
        self._undo.append(lambda: rows.pop(seq))
        return seq

    def _add(self, place: int, write: Add) -> int:
        skipped = False
        if write.source is not None:
            before = self._positions.get(write.source)
            skipped = before is not None and before >= write.position
            if not skipped:
                self._set(self._positions, write.source, write.position)
        if not skipped:
            for key, amount in write.amounts.items():
                balance = self._counters.get((write.counters, key), 0) + amount
                if not -(2**63) <= balance < 2**63:
                    raise StorageError(f"counter {key!r} would leave 64 bits")
                self._set(self._counters, (write.counters, key), balance)
        if len(write.amounts) == 1:
            return self._counters.get((write.counters, next(iter(write.amounts))), 0)
        return 0 if skipped else len(write.amounts)

    def _take(self, place: int, write: Take) -> int:
        left = self._counters.get((write.counters, write.key), 0) - write.amount
        if left < 0:
            raise CommitConflict(ConflictReason.EXHAUSTED, write=place, key=write.key)
        self._set(self._counters, (write.counters, write.key), left)
        if left == 0:
            for change in write.at_zero:
                self._change(place, change)
        return left

    def _forget(self, place: int, write: Forget) -> int:
        before = self._positions.pop(write.source, None)
        if before is not None:
            self._undo.append(lambda: self._positions.__setitem__(write.source, before))
        return 0

    def _set(self, mapping: dict[Any, int], key: Any, value: int) -> None:
        before = mapping.get(key)
        mapping[key] = value
        self._undo.append(lambda: mapping.pop(key) if before is None else mapping.__setitem__(key, before))
