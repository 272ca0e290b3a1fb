"""Who a store is: a name made once and kept in the store, by which folders that services share tell its files apart."""

from __future__ import annotations

from secrets import token_bytes
from typing import TYPE_CHECKING

import msgspec

from app.codes import SYSTEM
from astra_core.errors import StorageError
from astra_core.storage.once import made_once

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

    def make() -> bytes:
        return msgspec.json.encode(_StoredIdentity(randomness(IDENTITY_BYTES)))

    stored = _decoded(await made_once(store, SYSTEM.name, _RECORD, make))
    if stored is None or len(stored.id) != IDENTITY_BYTES:
        raise StorageError("the record that the store holds for its identity cannot be read")
    return stored.id.hex()


def _decoded(value: bytes | None) -> _StoredIdentity | None:
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=_StoredIdentity)
    except msgspec.DecodeError as error:
        raise StorageError("the record that the store holds for its identity cannot be read") from error
