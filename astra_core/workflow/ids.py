"""Ids that are remembered for a while, each a record: who commits one again is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.storage.records import Collection, Index, Query
from astra_core.storage.writes import Delete, Insert

if TYPE_CHECKING:
    from astra_core.storage.store import Store

__all__ = ["forget", "ids", "remember"]


def ids(name: str) -> Collection:
    """Return the collection `name` of ids, ordered by when they came."""
    return Collection(name=name, indexes=(Index(name="at"),))


def remember(collection: str, key: str, *, now: int, value: bytes = b"") -> Insert:
    """Return the write that a commit holds to happen once; `now` is in microseconds."""
    return Insert(collection=collection, key=key, value=value, entries={"at": ((now,),)})


async def forget(store: Store, collection: str, *, before: int, limit: int) -> int:
    """Forget the oldest ids, at most `limit`, that came before a moment; returns how many."""
    page = await store.find(Query(collection=collection, index="at", below=before, limit=limit))
    if page.records:
        await store.commit([Delete(collection=collection, key=record.key) for record in page.records])
    return len(page.records)
