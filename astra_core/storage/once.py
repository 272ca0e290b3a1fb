"""A record that is made once, by whoever comes first, and read by all others: a key, an identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.errors import CommitConflict
from astra_core.storage.writes import Insert

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.storage.store import Store

__all__ = ["made_once"]


async def made_once(store: Store, collection: str, key: str, make: Callable[[], bytes]) -> bytes | None:
    """Return the value of a record, `make()` where there is none yet; None when it was there and is gone.

    Callers may race: one insert wins and all get its value. Raises `StoreUnavailable`.
    """
    record = await store.get(collection, key)
    if record is None:
        value = make()
        try:
            await store.commit([Insert(collection=collection, key=key, value=value)])
        except CommitConflict:
            record = await store.get(collection, key)
        else:
            return value
    return None if record is None else record.value
