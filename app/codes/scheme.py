"""How the codes of a store come from numbers, and how its links are ordered; its name is stored beside the key."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from app.codes import base62
from app.codes.permutation import Permutation

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CODE_LENGTH", "SCHEME", "SCHEMES", "Codes", "Scheme"]

CODE_LENGTH = 7

_NUMBERED = "#"
"""What a sort key made of a number begins with, and no code does."""


class Scheme(NamedTuple):
    """A way to make codes. What a store has begun with it keeps for ever: codes given out must not come again."""

    name: str
    rounds: int
    """See `Permutation`."""
    lead: bytes
    """See `Permutation`."""
    sorts: bool
    """Whether links are kept by the numbers of their codes, and not by the codes, which lie in no order."""


SCHEME = Scheme("feistel-6-blake2s-21-sorted", rounds=6, lead=b"\0", sorts=True)
"""The one that new stores begin with: 6 rounds over two halves of 21 bits."""
_FIRST = Scheme("feistel-8-blake2s-21", rounds=8, lead=b"", sorts=False)

SCHEMES: Mapping[str, Scheme] = {each.name: each for each in (_FIRST, SCHEME)}
"""Those that this version knows, by name."""


class Codes:
    """The codes of one store: its scheme with its key."""

    def __init__(self, scheme: Scheme, key: bytes) -> None:
        self._permutation = Permutation(key, rounds=scheme.rounds, lead=scheme.lead)
        self._sorts = scheme.sorts
        self._last = "", ""
        """The code that was made last, with its sort key: whoever asks asks at once."""

    def __repr__(self) -> str:
        return f"Codes(sorts={self._sorts})"

    def code(self, number: int) -> str:
        """Return the code of a number, 7 characters."""
        code = base62.encode(self._permutation.permute(number), CODE_LENGTH)
        if self._sorts:
            self._last = code, f"{_NUMBERED}{number:011x}"
        return code

    def sort_key(self, code: str) -> str:
        """Return what to keep a code's record by: text that sorts as codes were made, where one was made of a number.

        Records that are made one after the other then lie side by side in every index, and not each on a page of its
        own. Another code, custom or private, is its own sort key. No two codes share one.
        """
        if code == self._last[0]:
            return self._last[1]
        if self._sorts and len(code) == CODE_LENGTH:
            with suppress(KeyError):
                return f"{_NUMBERED}{self._permutation.invert(base62.decode(code)):011x}"
        return _NUMBERED + code if code.startswith(_NUMBERED) else code  # who asks by a sort key must find nothing

    def code_of(self, sort_key: str) -> str:
        """Return the code whose sort key that is."""
        if not sort_key.startswith(_NUMBERED):
            return sort_key
        return base62.encode(self._permutation.permute(int(sort_key[1:], 16)), CODE_LENGTH)
