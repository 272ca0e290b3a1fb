"""Units as types: durations, sizes and secrets, as people write them and as the program holds them."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, Final

from msgspec import Meta

__all__ = [
    "DURATION_PATTERN",
    "SIZE_PATTERN",
    "Duration",
    "Secret",
    "Size",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_size",
]

Duration = Annotated[float, Meta(extra={"unit": "duration"})]
"""Seconds as a float, never negative; written `250ms`, `5s`, `2m`, `24h`, `7d` or a bare number of seconds."""

Size = Annotated[int, Meta(extra={"unit": "size"})]
"""Bytes as an int, never negative; written `64MiB` (1,024s), `10KB` (1,000s) or a bare number of bytes."""

_SECONDS: Final = {
    "d": Decimal(86_400),
    "h": Decimal(3_600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}
_BYTES: Final = {
    "TiB": 1024**4,
    "TB": 1000**4,
    "GiB": 1024**3,
    "GB": 1000**3,
    "MiB": 1024**2,
    "MB": 1000**2,
    "KiB": 1024,
    "KB": 1000,
    "B": 1,
}
_DURATION: Final = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?(?:e[+-]?[0-9]{1,3})?) ?(ms|s|m|h|d)?")
_SIZE: Final = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?([kmgt]i?b|b)?", re.IGNORECASE)
DURATION_PATTERN: Final = rf"^\s*{_DURATION.pattern}\s*$"
"""What `parse_duration` reads, for JSON Schema, whose patterns know no flags and match anywhere in a text."""
SIZE_PATTERN: Final = r"^\s*[0-9]{1,20}(?:\.[0-9]{1,20})? ?(?:[kKmMgGtT][iI]?[bB]|[bB])?\s*$"
"""What `parse_size` reads, likewise."""
_MULTIPLES: Final = {name.lower(): multiple for name, multiple in _BYTES.items()}


class Secret:
    """A text that shows itself as `***` wherever it is printed, logged or formatted; `reveal()` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself: the one place where a reader sees that it leaves its wrapper."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return "***"


def parse_duration(text: str) -> float:
    """Return the seconds that `text` means; ValueError when it is none."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError("not a duration")
    seconds = float(Decimal(found[1]) * _SECONDS[found[2] or "s"])
    if not math.isfinite(seconds):
        raise ValueError("a duration is finite")
    return seconds


def format_duration(seconds: float) -> str:
    """Return the shortest text that `parse_duration` reads back as exactly `seconds` (finite, not negative)."""
    if seconds == 0:
        return "0s"
    for unit, scale in _SECONDS.items():
        count = Decimal(repr(float(seconds))) / scale
        if count == count.to_integral_value() and count < 10**9:
            text = f"{int(count)}{unit}"
            if parse_duration(text) == seconds:
                return text
    return f"{float(seconds)!r}s"


def parse_size(text: str) -> int:
    """Return the bytes that `text` means; ValueError when it is no whole number of bytes."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError("not a size")
    count = Decimal(found[1]) * _MULTIPLES[(found[2] or "b").lower()]
    if count != int(count):
        raise ValueError("a size is a whole number of bytes")
    return int(count)


def format_size(count: int) -> str:
    """Return `count` bytes in the largest unit that holds it a whole number of times."""
    if count == 0:
        return "0B"
    unit, multiple = next((unit, multiple) for unit, multiple in _BYTES.items() if count % multiple == 0)
    return f"{count // multiple}{unit}"
