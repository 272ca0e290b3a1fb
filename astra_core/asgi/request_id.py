"""Request ids: 128 random bits in hex, cut from blocks of entropy because a system call a request is dear."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.asgi.types import Scope

__all__ = ["REQUEST_ID", "RequestIds", "request_id_of"]

REQUEST_ID = "astra.request_id"
"""Key in the scope under which a request's id stands, once a middleware gave it one."""

_BYTES = 16
_BLOCK = 256


class RequestIds:
    """An endless supply of ids of 32 hex digits. `entropy(n)` returns n random bytes."""

    def __init__(self, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._entropy = entropy
        self._ids: list[str] = []

    def next(self) -> str:
        """Return an id that was never returned before."""
        if not self._ids:
            block = self._entropy(_BYTES * _BLOCK).hex()
            self._ids = [block[at : at + 2 * _BYTES] for at in range(0, len(block), 2 * _BYTES)]
        return self._ids.pop()


def request_id_of(scope: Scope) -> str | None:
    """Return the id of the request of `scope`; None when no middleware gave it one."""
    return scope.get(REQUEST_ID)
