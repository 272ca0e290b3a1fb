"""Request ids: 128 random bits in hex, cut from blocks of entropy because a system call a request is dear."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RequestIds"]

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
