"""Events of record stores."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["StoreCalled"]


@dataclass(frozen=True, slots=True)
class StoreCalled:
    """One try of `operation` on the store `store` ended after `seconds`, for good or with an `error`.

    It is told in the context of who called. `collection` is "" where the operation is about none, or about several;
    `error` is the class name, "" when there was none. Keys and values are no part of it.
    """

    store: str
    operation: str
    collection: str
    seconds: float
    error: str
