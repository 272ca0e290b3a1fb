"""Events of record stores."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["EntriesWaiting", "StoreCalled"]


class EntriesWaiting(Struct, frozen=True):
    """So many entries of the deferred index `index` of `collection` waited to be put in order, at the last look.

    Told by the numbers of the oldest and the newest: those between that are deleted count too.
    """

    collection: str
    index: str
    entries: int


class StoreCalled(Struct, frozen=True):
    """One try of `operation` on the store `store` ended after `seconds`, for good or with an `error`.

    It is told in the context of who called. `collection` is "" where the operation is about none, or about several;
    `error` is the class name, "" when there was none. Keys and values are no part of it. A struct, because every call
    makes one: that takes a tenth of the time of a frozen dataclass.
    """

    store: str
    operation: str
    collection: str
    seconds: float
    error: str
