"""A keyed permutation of the numbers that codes are made of, so that consecutive numbers give unrelated codes."""

from __future__ import annotations

from hashlib import blake2s
from struct import Struct

__all__ = ["CODE_COUNT", "Permutation"]

CODE_COUNT = 62**7
"""Codes of 7 base62 characters: 3.5e12."""

_WORD = Struct("<I")


class Permutation:
    """A bijection of [0, size) chosen by a key.

    A balanced Feistel network (Luby and Rackoff, 1988) over `2 * half_bits` bits, its round function BLAKE2s with the
    key and the round's number as salt. Six `rounds` of random functions are not told from a random permutation by who
    asks for fewer than some 2**half_bits numbers, forwards and backwards (Patarin, 2004); four, by who asks for fewer
    than the root of that. The network covers 2**42 numbers, codes are 62**7; what lands outside is permuted again until
    it lands inside (cycle walking: Black and Rogaway, 2002), which keeps it a bijection and takes 1.25 passes on
    average. It hides order and count; it is not a secret that anything else may rest on.

    `lead` are bytes hashed before each half. With one of them the block of the key is hashed once for all, where it
    would be in each round: BLAKE2 leaves a full block alone until it knows that more follows.
    """

    def __init__(self, key: bytes, *, rounds: int, lead: bytes, half_bits: int = 21, size: int = CODE_COUNT) -> None:
        if not 0 < size <= 1 << 2 * half_bits:
            raise ValueError(f"size must be 1 to 2**{2 * half_bits}")
        self._half_bits = half_bits
        self._mask = (1 << half_bits) - 1
        self._size = size
        self._rounds = tuple(blake2s(lead, key=key, salt=bytes([number]), digest_size=4) for number in range(rounds))

    def permute(self, number: int) -> int:
        """Return the place of `number`, which must lie in [0, size)."""
        self._check(number)
        half_bits, mask, size = self._half_bits, self._mask, self._size
        pack, unpack = _WORD.pack, _WORD.unpack  # half of what the methods of `int` cost
        while True:
            left, right = number >> half_bits, number & mask
            for keyed in self._rounds:
                digest = keyed.copy()
                digest.update(pack(right))
                left, right = right, left ^ unpack(digest.digest())[0] & mask
            number = left << half_bits | right
            if number < size:
                return number

    def invert(self, number: int) -> int:
        """Return the number whose place is `number`."""
        self._check(number)
        half_bits, mask, size = self._half_bits, self._mask, self._size
        pack, unpack = _WORD.pack, _WORD.unpack
        while True:
            left, right = number >> half_bits, number & mask
            for keyed in reversed(self._rounds):
                digest = keyed.copy()
                digest.update(pack(left))
                left, right = right ^ unpack(digest.digest())[0] & mask, left
            number = left << half_bits | right
            if number < size:
                return number

    def _check(self, number: int) -> None:
        if not 0 <= number < self._size:
            raise ValueError(f"{number} lies outside [0, {self._size})")
