"""The collections a store serves, and the checks every write and query passes before an engine sees it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from astra_core.errors import DefinitionError
from astra_core.storage.writes import Add, Append, Change, Delete, Forget, Insert, Publish, Replace, Require, Sent, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from astra_core.storage.records import Collection, Index, Query
    from astra_core.storage.writes import Entries, Scalar, Write

__all__ = ["Catalogue", "Shape", "check_limit", "check_page", "check_texts"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_LOW, _HIGH = -(2**63), 2**63 - 1
_MOST_PARTS = 8


class Shape:
    """One collection with its indexes by name."""

    __slots__ = ("indexes", "multi", "name", "single", "unique")

    def __init__(self, collection: Collection) -> None:
        self.name = collection.name
        self.indexes: Mapping[str, Index] = {index.name: index for index in collection.indexes}
        self.single = tuple(index for index in collection.indexes if not index.multi)
        self.multi = tuple(index for index in collection.indexes if index.multi)
        self.unique = tuple(index for index in collection.indexes if index.unique)


class Catalogue:
    """The shapes of a store's collections. Raises `DefinitionError` for collections that cannot be."""

    def __init__(self, collections: Sequence[Collection]) -> None:
        problems = list(_problems(collections))
        if problems:
            raise DefinitionError("collections", problems)
        self.shapes: Mapping[str, Shape] = {collection.name: Shape(collection) for collection in collections}
        self._checks: Mapping[type, Callable[..., None]] = {
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

    def shape(self, name: str) -> Shape:
        """Return a collection's shape; raises `ValueError` when there is none of that name."""
        try:
            return self.shapes[name]
        except KeyError:
            raise ValueError(f"no collection is named {name!r}") from None

    def check(self, writes: Sequence[Write]) -> None:
        """Raise `ValueError` when a write cannot be stored, whatever the store holds."""
        for write in writes:
            check = self._checks.get(type(write))
            if check is None:
                raise ValueError(f"{write!r} is no write")
            check(write)

    def check_key(self, collection: str, key: str) -> None:
        """Raise `ValueError` for a collection that is unknown or a key that no record can have."""
        self.shape(collection)
        _text(key, "key")

    def check_query(self, query: Query) -> Index:
        """Raise `ValueError` when a query cannot be answered; returns its index."""
        index = self.shape(query.collection).indexes.get(query.index)
        if index is None:
            raise ValueError(f"{query.collection} has no index {query.index!r}")
        if len(query.prefix) > index.parts:
            raise ValueError(f"index {index.name} has {index.parts} parts, the prefix {len(query.prefix)}")
        if index.deferred and not query.prefix:
            raise ValueError(f"index {index.name} is deferred, so a query must fix its first part")
        _scalars(query.prefix, "prefix")
        if query.below is not None:
            if len(query.prefix) == index.parts:
                raise ValueError("the prefix fixes every part, so there is none for below")
            _scalar(query.below, "below")
        if query.after is not None:
            if len(query.after) != index.parts + 1 or query.after[: len(query.prefix)] != query.prefix:
                raise ValueError("after is not the next of a page of this query")
            _scalars(query.after, "after")
        _text(query.contains, "contains")
        check_limit(query.limit)
        check_limit(query.scan)
        return index

    def _entries(self, shape: Shape, entries: Entries) -> None:
        indexes = shape.indexes
        for name, rows in entries.items():
            index = indexes.get(name)
            if index is None:
                raise ValueError(f"{shape.name} has no index {name!r}")
            if len(rows) > 1 and not index.multi:
                raise ValueError(f"index {name} takes one entry a record, not {len(rows)}")
            for parts in rows:
                if len(parts) != index.parts:
                    raise ValueError(f"index {name} has {index.parts} parts, not {len(parts)}")
                for value in parts:
                    if type(value) is not int or not _LOW <= value <= _HIGH:  # most are whole numbers that fit
                        _scalar(value, name)

    def _insert(self, write: Insert) -> None:
        shape = self.shape(write.collection)
        _text(write.key, "key")
        _bytes(write.value)
        if write.text:
            _text(write.text, "text")
        self._entries(shape, write.entries)

    def _replace(self, write: Replace) -> None:
        shape = self.shape(write.collection)
        _text(write.key, "key")
        _version(write.version, 1)
        _bytes(write.value)
        if write.text:
            _text(write.text, "text")
        self._entries(shape, write.entries)

    def _delete(self, write: Delete) -> None:
        self.check_key(write.collection, write.key)
        if write.version is not None:
            _version(write.version, 1)

    def _require(self, write: Require) -> None:
        self.check_key(write.collection, write.key)
        _version(write.version, 0)

    def _append(self, write: Append) -> None:
        _scalars((write.stream, write.key), "stream and key", only=str)
        _bytes(write.data)

    def _publish(self, write: Publish) -> None:
        _scalars((write.topic, write.key, write.id), "topic, key and id", only=str)
        _bytes(write.data)

    def _change(self, write: Change) -> None:
        _text(write.feed, "feed")
        _text(write.key, "key")

    def _add(self, write: Add) -> None:
        _text(write.counters, "counters")
        for key, amount in write.amounts.items():
            _text(key, "key")
            _whole(amount, "amount")
        if write.source is not None:
            _text(write.source, "source")
        _whole(write.position, "position")

    def _take(self, write: Take) -> None:
        _text(write.counters, "counters")
        _text(write.key, "key")
        _whole(write.amount, "amount")
        if write.amount < 1:
            raise ValueError(f"a take of {write.amount} takes nothing")
        for change in write.at_zero:
            self._change(change)

    def _sent(self, write: Sent) -> None:
        _whole(write.through, "through")

    def _forget(self, write: Forget) -> None:
        _text(write.source, "source")


def check_limit(limit: int) -> None:
    """Raise `ValueError` for a bound below 1."""
    _whole(limit, "limit")
    if limit < 1:
        raise ValueError(f"a limit of {limit} leaves nothing")


def check_page(after: int, limit: int) -> None:
    """Raise `ValueError` for numbers that are none."""
    check_limit(limit)
    _whole(after, "after")
    if after < 0:
        raise ValueError(f"numbers begin at 1, so none follows {after}")


def check_texts(*texts: str) -> None:
    """Raise `ValueError` for a name or key that no engine can store."""
    for text in texts:
        _text(text, "key")


def _problems(collections: Sequence[Collection]) -> Iterable[str]:
    names = [collection.name for collection in collections]
    yield from (f"two are named {name}" for name in sorted({name for name in names if names.count(name) > 1}))
    for collection in collections:
        if not _NAME.match(collection.name):
            yield f"{collection.name!r} is no lower-case identifier"
        indexes = [index.name for index in collection.indexes]
        for name in sorted({name for name in indexes if indexes.count(name) > 1}):
            yield f"{collection.name} has two indexes named {name}"
        for index in collection.indexes:
            if not _NAME.match(index.name):
                yield f"index {index.name!r} of {collection.name} is no lower-case identifier"
            if not 1 <= index.parts <= _MOST_PARTS:
                yield f"index {index.name} of {collection.name} has {index.parts} parts, not 1 to {_MOST_PARTS}"
            if index.deferred and (index.unique or not index.multi):
                yield f"index {index.name} of {collection.name} is deferred, so it must be multi and not unique"


def _text(value: str, what: str) -> None:
    if type(value) is not str:
        _refuse(value, what, "text")
    if "\0" in value:
        raise ValueError(f"{what} {value!r} holds a NUL")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what} {value!r} holds half a surrogate pair") from None


def _whole(value: int, what: str) -> None:
    if type(value) is not int:
        _refuse(value, what, "a whole number")
    if not _LOW <= value <= _HIGH:
        raise ValueError(f"{what} {value} does not fit 64 bits")


def _scalar(value: Scalar, what: str) -> None:
    if type(value) is str:
        _text(value, what)
    else:
        _whole(value, what)  # type: ignore[arg-type]


def _scalars(values: Iterable[Scalar], what: str, only: type | None = None) -> None:
    for value in values:
        if only is not None and type(value) is not only:
            _refuse(value, what, "text")
        _scalar(value, what)


def _bytes(value: bytes) -> None:
    if not isinstance(value, bytes):
        _refuse(value, "value", "bytes")


def _version(value: int, least: int) -> None:
    _whole(value, "version")
    if value < least:
        raise ValueError(f"no record has version {value}")


def _refuse(value: object, what: str, wanted: str) -> NoReturn:
    raise ValueError(f"{what} {value!r} is not {wanted}")
