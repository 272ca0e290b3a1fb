"""Fences: records by whose version the store refuses every commit of an owner that is no longer one.

A fence stands in the same store as what it protects, since only there can one commit hold both. Taking it replaces the
record, so its version grows with each owner: the epoch. Every commit of an owner carries `require`, and the store
itself decides, however long the owner was paused between its last look at a clock and its commit (Kleppmann, *How to
do distributed locking*).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from astra_core.errors import CommitConflict, ConflictReason
from astra_core.storage.records import Collection, Index
from astra_core.storage.writes import Insert, Replace, Require

if TYPE_CHECKING:
    from astra_core.coordination import Tenure
    from astra_core.storage.records import Record
    from astra_core.storage.store import Store
    from astra_core.storage.writes import Entries

__all__ = ["FENCES", "Fence", "Mark", "marking", "read_mark", "take_fence"]

FENCES = Collection(name="fences", indexes=(Index(name="slot"),))
"""The collection that a store must have to be fenced."""

_encode = msgspec.json.Encoder().encode


class Mark(Struct, frozen=True):
    """What a fence says of its owner: its name, which of its lives, and whether it still holds what is fenced."""

    owner: str
    life: int
    held: bool


read_mark = msgspec.json.Decoder(Mark).decode


class Fence(Struct, frozen=True):
    """One ownership. Put `require` into every commit that this owner makes."""

    key: str
    epoch: int

    @property
    def require(self) -> Require:
        """What refuses the commit once somebody else has taken the fence."""
        return Require(collection=FENCES.name, key=self.key, version=self.epoch)

    def refused(self, conflict: CommitConflict) -> bool:
        """Whether `conflict` came from `require`: this ownership is over."""
        return conflict.key == self.key and conflict.reason in {ConflictReason.VERSION, ConflictReason.MISSING}


def marking(key: str, version: int, mark: Mark, entries: Entries | None = None) -> Insert | Replace:
    """Return the write that makes the fence say `mark`; `version` is that which was read, 0 for none."""
    value, entries = _encode(mark), entries or {}
    if version:
        return Replace(collection=FENCES.name, key=key, version=version, value=value, entries=entries)
    return Insert(collection=FENCES.name, key=key, value=value, entries=entries)


async def take_fence(store: Store, key: str, tenure: Tenure) -> Fence:
    """Take the fence `key` for who holds a lease; whoever had it before writes nothing more. Raises `LeaseLost`.

    First the fence is read, then the clock, and the write names the version that was read. If a later holder has taken
    the fence before the read, this lease was over then, and the clock says so; if it does after the read, the version
    is another one. So a holder that was paused anywhere in here never takes the fence from one that came after it.
    """
    mark = Mark(tenure.name, tenure.epoch, held=True)
    while True:
        record: Record | None = await store.get(FENCES.name, key)
        tenure.check()
        try:
            return Fence(key, (await store.commit([marking(key, record.version if record else 0, mark)]))[0])
        except CommitConflict:
            continue
