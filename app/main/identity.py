"""Who a store is: a name made once and kept in the store, by which folders that services share tell its files apart."""

from __future__ import annotations

from secrets import token_bytes
from typing import TYPE_CHECKING

import msgspec

from app.codes import SYSTEM
from astra_core.errors import CommitConflict, StorageError
from astra_core.storage.writes import Insert

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.storage.store import Store

__all__ = ["IDENTITY_BYTES", "settle_identity"]

IDENTITY_BYTES = 16

_RECORD = "identity"


class _StoredIdentity(msgspec.Struct, frozen=True):
    """The stored record (base64 in the JSON)."""

    id: bytes


async def settle_identity(store: Store, *, randomness: Callable[[int], bytes] = token_bytes) -> str:
    """Return the identity of this store, 32 hexadecimal digits; the first caller ever makes it.

    Callers may race: one insert wins and all get its identity. A store in memory has a new one each life. Raises
    `StorageError` when the stored one cannot be read, and `StoreUnavailable`.
    """
    stored = await _stored(store)
    if stored is None:
        own = _StoredIdentity(randomness(IDENTITY_BYTES))
        try:
            await store.commit([Insert(collection=SYSTEM.name, key=_RECORD, value=msgspec.json.encode(own))])
        except CommitConflict:
            stored = await _stored(store)
        else:
            stored = own
    if stored is None or len(stored.id) != IDENTITY_BYTES:
        raise StorageError("the record that the store holds for its identity cannot be read")
    return stored.id.hex()


async def _stored(store: Store) -> _StoredIdentity | None:
    record = await store.get(SYSTEM.name, _RECORD)
    if record is None:
        return None
    try:
        return msgspec.json.decode(record.value, type=_StoredIdentity)
    except msgspec.DecodeError as error:
        raise StorageError("the record that the store holds for its identity cannot be read") from error
