"""Numbers as text of digits and letters: 0-9, A-Z, a-z, most significant first, of fixed width."""

from __future__ import annotations

__all__ = ["ALPHABET", "decode", "encode"]

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = tuple(high + low for high in ALPHABET for low in ALPHABET)
_VALUES = {character: value for value, character in enumerate(ALPHABET)}


def encode(number: int, width: int) -> str:
    """Return `number` in `width` characters; raises `OverflowError` when it does not fit or is negative."""
    text = ""
    while len(text) + 1 < width:
        number, pair = divmod(number, 3844)
        text = _PAIRS[pair] + text
    if len(text) < width:
        number, digit = divmod(number, 62)
        text = ALPHABET[digit] + text
    if number:
        raise OverflowError(f"the number does not fit in {width} base62 characters")
    return text


def decode(text: str) -> int:
    """Return the number that `text` encodes; raises `KeyError` for a character that is no base62 digit."""
    number = 0
    for character in text:
        number = number * 62 + _VALUES[character]
    return number
