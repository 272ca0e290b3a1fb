"""What a remote store and its server say to each other: length-prefixed msgpack, one request and one answer a time."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import msgspec

from astra_core.errors import CommitConflict, ConflictReason, StorageError, StoreUnavailable
from astra_core.storage import (
    Add,
    Append,
    Change,
    Changes,
    Delete,
    Event,
    Forget,
    Insert,
    Message,
    Page,
    Publish,
    Query,
    Record,
    Replace,
    Require,
    Sent,
    Take,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from astra_core.storage import Write

__all__ = ["answer_of", "call_of", "pack_answer", "pack_call", "pack_error", "read_frame"]

_SIZE = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

_WRITES: Mapping[str, Callable[..., Write]] = {
    kind.__name__: kind for kind in (Add, Append, Change, Delete, Forget, Insert, Publish, Replace, Require, Sent, Take)
}


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """One frame; raises `EOFError` when the other side ended within it, or before."""
    (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
    return await reader.readexactly(size)


def pack_call(method: str, args: Sequence[Any], options: Mapping[str, Any]) -> bytes:
    """The frame of a call; raises `ValueError` for what cannot be said."""
    if method == "commit":
        args = [[_pack_write(write) for write in args[0]]]
    try:
        return _frame([method, list(args), dict(options)])
    except (TypeError, OverflowError) as error:
        raise ValueError(f"no store takes this: {error}") from error


def call_of(frame: bytes) -> tuple[str, list[Any], dict[str, Any]]:
    """The method, arguments and options of a call."""
    method, args, options = _decode(frame)
    if method == "commit":
        args = [[_write_of(name, fields) for name, fields in args[0]]]
    elif method == "find":
        asked = args[0]
        after = None if asked["after"] is None else tuple(asked["after"])
        args = [Query(**asked | {"prefix": tuple(asked["prefix"]), "after": after})]
    return method, args, options


def pack_answer(result: object) -> bytes:
    """The frame of a result."""
    return _frame(["result", result])


def pack_error(error: Exception) -> bytes:
    """The frame of an error that a store may raise."""
    if isinstance(error, CommitConflict):
        return _frame(["conflict", [error.reason.value, error.write, error.key, error.index]])
    if isinstance(error, StoreUnavailable):
        return _frame(["unavailable", [error.reason, error.retry_after]])
    return _frame(["error" if isinstance(error, StorageError) else "value", [str(error)]])


def answer_of(method: str, frame: bytes) -> Any:
    """The result in a frame, or raise the error in it."""
    kind, found = _decode(frame)
    if kind == "result":
        return _RESULTS.get(method, _as_it_is)(found)
    if kind == "conflict":
        reason, write, key, index = found
        raise CommitConflict(ConflictReason(reason), write=write, key=key, index=index)
    if kind == "unavailable":
        raise StoreUnavailable(found[0], retry_after=found[1])
    raise (StorageError if kind == "error" else ValueError)(found[0])


def _frame(content: object) -> bytes:
    data = _encode(content)
    return _SIZE.pack(len(data)) + data


def _pack_write(write: Write) -> list[Any]:
    if type(write).__name__ not in _WRITES:
        raise ValueError(f"{write!r} is no write")
    return [type(write).__name__, {name: getattr(write, name) for name in write.__struct_fields__}]


def _write_of(name: str, fields: dict[str, Any]) -> Write:
    if "entries" in fields:
        fields["entries"] = {index: tuple(map(tuple, rows)) for index, rows in fields["entries"].items()}
    if "at_zero" in fields:
        fields["at_zero"] = tuple(Change(**change) for change in fields["at_zero"])
    return _WRITES[name](**fields)


def _record(found: Any) -> Record | None:
    return None if found is None else Record(**found)


def _page(found: Any) -> Page:
    after = found["next"]
    return Page(tuple(Record(**record) for record in found["records"]), None if after is None else tuple(after))


def _changes(found: Any) -> Changes:
    return Changes(tuple(found["keys"]), found["seq"], gap=found["gap"])


def _events(found: Any) -> tuple[Event, ...]:
    return tuple(Event(**event) for event in found)


def _messages(found: Any) -> tuple[Message, ...]:
    return tuple(Message(**message) for message in found)


def _as_it_is(found: Any) -> Any:
    return found


_RESULTS: Mapping[str, Callable[[Any], Any]] = {
    "commit": tuple,
    "get": _record,
    "find": _page,
    "changes": _changes,
    "events": _events,
    "messages": _messages,
}
