"""One value of a source to the type of its key, or the words that say what is wrong with it."""

from __future__ import annotations

import json
import math
import re
import reprlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from astra_core.config.units import Secret, parse_duration, parse_size

if TYPE_CHECKING:
    from astra_core.config.schema import Key

__all__ = ["convert", "expects", "show"]

_INTEGER: Final = re.compile(r"[+-]?[0-9]+(?:_[0-9]+)*")
_ITEM: Final = re.compile(r"at `\$\[(\d+)\]")
_KINDS: Final = {
    "duration": "a duration such as 250ms, 5s or 24h",
    "size": "a size such as 64MiB or 10KB",
    "secret": "a text, in quotes",
    "flag": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "text": "a text",
    "list": "a list",
}

_shorten: Final = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 60
_shorten.maxlevel = 2


def show(value: object) -> str:
    """Return `value` for a message: short, printable, whatever it holds."""
    return "null" if value is None else _shorten.repr(value)


def expects(key: Key) -> str:
    """Return what `key` takes, in words: `a whole number from 0 to 65535`."""
    if key.kind == "choice":
        words = "one of " + ", ".join(key.choices)
    else:
        words = f"{_KINDS.get(key.kind, 'a value of another shape')} {key.span()}".strip()
        if key.kind in ("duration", "size"):
            words = words.replace(" from ", ", from ").replace(" at ", ", at ")
        elif key.kind == "list":
            words = words.replace(" not empty", " of at least one entry")
    return f"{words}, or null" if key.nullable else words


def convert(key: Key, raw: object, *, text: bool) -> Any:
    """Return `raw` as the type of `key`; `text` when the source holds nothing but text (environment variables).

    A text is taken as it stands for a key that is a text: no marker in it means anything. ValueError, without the
    value in it, when `raw` does not fit.
    """
    if key.nullable and (raw is None or (text and raw == "")):
        return None
    try:
        value = _read(key, raw, text=text)
        if key.kind == "secret":
            return Secret(value)
        return msgspec.convert(value, key.type, strict=not text)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"must be {expects(key)}{_detail(key, error)}") from None


def _detail(key: Key, error: Exception) -> str:
    """Only a value with an inside needs more than the words for its type: where in it the fault is."""
    if key.kind not in ("list", "other") or not isinstance(error, msgspec.ValidationError):
        return ""
    if key.kind == "other":
        return f" ({error})"
    item = _ITEM.search(str(error))
    return "" if item is None else f" (item {int(item[1]) + 1} is none of its kind)"


def _read(key: Key, raw: object, *, text: bool) -> Any:
    match key.kind:
        case "duration":
            return _not_negative(parse_duration(raw) if isinstance(raw, str) else raw)
        case "size":
            return _not_negative(parse_size(raw.replace("_", "")) if isinstance(raw, str) else raw)
        case "secret":
            return msgspec.convert(raw, str)
        case "number":
            return _finite(float(raw) if text and isinstance(raw, str) else raw)
        case "integer" if text and isinstance(raw, str):
            if _INTEGER.fullmatch(raw.strip()) is None:
                raise ValueError("not a whole number")
            return int(raw)
        case "list" | "other" if text and isinstance(raw, str):
            return _items(raw)
    return raw


def _finite(value: Any) -> Any:
    """A key without an upper bound would take infinity, and one without any bound NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _not_negative(value: Any) -> Any:
    if isinstance(value, (int, float)) and value < 0:
        raise ValueError("negative")
    return _finite(value)


def _items(raw: str) -> Any:
    """A list in a variable: JSON when it begins like JSON, else items between commas."""
    if raw.lstrip()[:1] in ("[", "{"):
        return json.loads(raw)
    return [item.strip() for item in raw.split(",") if item.strip()]
