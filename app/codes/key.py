"""The key of the permutation: made once, kept in the store beside the counter, never changed and never logged."""

from __future__ import annotations

from secrets import token_bytes
from typing import TYPE_CHECKING

import msgspec

from app.codes.errors import CodeKeyMismatch
from app.codes.scheme import SCHEME, SCHEMES, Codes
from astra_core.storage.once import made_once
from astra_core.storage.records import Collection

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.storage.store import Store

__all__ = ["KEY_BYTES", "SYSTEM", "settle_codes"]

KEY_BYTES = 32
SYSTEM = Collection(name="system")
"""The collection that holds the key; whoever builds the store declares it there."""

_RECORD = "codes"
_KNOWN = ", ".join(SCHEMES)


class _StoredKey(msgspec.Struct, frozen=True):
    """The stored record: which scheme, and its key (base64 in the JSON)."""

    scheme: str
    key: bytes

    def __repr__(self) -> str:
        return f"_StoredKey(scheme={self.scheme!r})"


async def settle_codes(
    store: Store, configured: bytes | None = None, *, randomness: Callable[[int], bytes] = token_bytes
) -> Codes:
    """Return the codes of this store; the first caller ever makes their key, of what is configured or at random.

    Callers may race: one insert wins and all get its key. Raises `CodeKeyMismatch` when the stored key is another
    than the configured one, or belongs to a scheme that this version does not know; `StoreUnavailable`.
    """

    def make() -> bytes:
        return msgspec.json.encode(_StoredKey(SCHEME.name, configured or randomness(KEY_BYTES)))

    stored = _decoded(await made_once(store, SYSTEM.name, _RECORD, make))
    scheme = None if stored is None else SCHEMES.get(stored.scheme)
    if stored is None or scheme is None:
        raise CodeKeyMismatch(f"the store's codes are made by none of the schemes this version knows: {_KNOWN}")
    if configured is not None and configured != stored.key:
        raise CodeKeyMismatch("differs from the key this store's codes are made with: configure that one, or none")
    return Codes(scheme, stored.key)


def _decoded(value: bytes | None) -> _StoredKey | None:
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=_StoredKey)
    except msgspec.DecodeError:  # its text would be chained, and the record holds the key
        raise CodeKeyMismatch("the record that the store holds for it cannot be read") from None
