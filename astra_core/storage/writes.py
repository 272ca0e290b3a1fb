"""What one commit may hold: each write is a frozen value, and a commit of them happens as a whole or not at all.

They are structs, not dataclasses: a commit makes several, and a frozen dataclass takes ten times as long to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct, field

__all__ = [
    "Add",
    "Append",
    "Change",
    "Delete",
    "Entries",
    "Forget",
    "Insert",
    "Publish",
    "Replace",
    "Require",
    "Sent",
    "Take",
    "Write",
]

Scalar: TypeAlias = str | int
Entries: TypeAlias = Mapping[str, tuple[tuple[Scalar, ...], ...]]
"""The index entries of one record: index name -> its tuples (none, one, or several for a multi-valued index).

The record's key is the last, implied part of every entry, so entries of equal parts stand in key order.
"""


class Insert(Struct, frozen=True, kw_only=True):
    """Insert a record if its key is absent. Result: version 1. Conflicts: `EXISTS`, `UNIQUE`."""

    collection: str
    key: str
    value: bytes
    entries: Entries = field(default_factory=dict)
    text: str = ""
    """What `Query.contains` searches; lower case by the caller's choice."""


class Replace(Struct, frozen=True, kw_only=True):
    """Replace a record that stands at `version`. Result: `version + 1`. Conflicts: `MISSING`, `VERSION`, `UNIQUE`."""

    collection: str
    key: str
    version: int
    value: bytes
    entries: Entries = field(default_factory=dict)
    text: str = ""


class Delete(Struct, frozen=True, kw_only=True):
    """Delete a record, at `version` or, when that is None, whatever its version; deleting nothing is then no conflict.

    Result: the version deleted, 0 when there was none. Conflicts: `MISSING`, `VERSION`, only with a version given.
    """

    collection: str
    key: str
    version: int | None = None


class Require(Struct, frozen=True, kw_only=True):
    """Write nothing, but refuse the commit unless the record stands at `version` (0: is absent). The fence.

    Result: `version`. Conflicts: `EXISTS` (version 0), `MISSING`, `VERSION`.
    """

    collection: str
    key: str
    version: int


class Append(Struct, frozen=True, kw_only=True):
    """Append an event to the history of one entity. Result: its number in that stream, from 1."""

    stream: str
    key: str
    data: bytes


class Publish(Struct, frozen=True, kw_only=True):
    """Leave a message in the outbox, for a relay to publish after the commit. Result: its number in the outbox.

    `id` is what consumers recognise a duplicate by; "" leaves it to the relay.
    """

    topic: str
    key: str
    data: bytes
    id: str = ""


class Sent(Struct, frozen=True, kw_only=True):
    """Drop the messages of the outbox up to the number `through`: they were published. Result: how many went."""

    through: int


class Change(Struct, frozen=True, kw_only=True):
    """Append `key` to a changes feed, so that caches elsewhere drop what they hold of it. Result: its number there."""

    feed: str
    key: str


class Add(Struct, frozen=True, kw_only=True):
    """Add to counters of one set; a counter that was never written stands at 0.

    With a `source`, the write is idempotent: it does nothing when the position stored for that source is at or
    above `position`, else it adds and stores `position`, both in this commit. Result: the balance after the
    write of the one counter when `amounts` names exactly one, else how many counters it changed (0: it was skipped).
    """

    counters: str
    amounts: Mapping[str, int]
    source: str | None = None
    position: int = 0


class Take(Struct, frozen=True, kw_only=True):
    """Take `amount` (at least 1) from a counter while it stays at 0 or above. Result: what is left.

    `at_zero` are changes appended by the take that reaches exactly 0, and by no other. Conflict: `EXHAUSTED`.
    """

    counters: str
    key: str
    amount: int = 1
    at_zero: tuple[Change, ...] = ()


class Forget(Struct, frozen=True, kw_only=True):
    """Drop the stored position of a source that will never be read again. Result: 0."""

    source: str


Write: TypeAlias = Insert | Replace | Delete | Require | Append | Publish | Sent | Change | Add | Take | Forget
