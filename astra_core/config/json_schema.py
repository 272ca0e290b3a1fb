"""The schema as JSON Schema (2020-12), for editors that complete and check settings files while they are written."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

import msgspec

from astra_core.config.schema import REQUIRED, Key, Section, keys_of
from astra_core.config.units import DURATION_PATTERN, SIZE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["json_schema"]

_RANGES = {"ge": "minimum", "le": "maximum"}
_LENGTHS = {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"}
_ENTRIES = {"min_length": "minItems", "max_length": "maxItems"}


def json_schema(schema: type[Section], *, title: str) -> dict[str, Any]:
    """Return the JSON Schema of a settings file: what one file may hold, not what all layers together must."""
    root: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **_section(),
    }
    for key in keys_of(schema):
        below = root["properties"]
        for name in key.path[:-1]:
            below = below.setdefault(name, _section())["properties"]
        below[key.path[-1]] = _described(key)
    return root


def _section() -> dict[str, Any]:
    """A section whose keys are all commented out reads as null."""
    return {"type": ["object", "null"], "additionalProperties": False, "properties": {}}


def _described(key: Key) -> dict[str, Any]:
    allowed = _values(key)
    if key.nullable:
        allowed = {"anyOf": [allowed, {"type": "null"}]}
    effect = "Takes effect in the running process." if key.hot else "Takes effect with the next start."
    allowed["description"] = f"{key.doc} {effect}"
    if key.kind == "secret":
        allowed["writeOnly"] = True
    elif key.default is not REQUIRED:
        allowed["default"] = _written(key)
    return allowed


def _written(key: Key) -> Any:
    """The default as a file would hold it: times and sizes with their unit."""
    if key.kind in ("duration", "size") and key.default is not None:
        return key.show(key.default)
    return msgspec.to_builtins(key.default)


def _values(key: Key) -> dict[str, Any]:
    match key.kind:
        case "duration" | "size":
            pattern, number = (DURATION_PATTERN, "number") if key.kind == "duration" else (SIZE_PATTERN, "integer")
            bare = {"type": number, "minimum": 0, **_bounds(key, _RANGES)}
            return {"anyOf": [{"type": "string", "pattern": pattern}, bare]}
        case "flag":
            return {"type": "boolean"}
        case "integer" | "number":
            return {"type": key.kind, **_bounds(key, _RANGES)}
        case "text" | "secret":
            return {"type": "string", **_bounds(key, _LENGTHS)}
        case "choice":
            return {"enum": list(typing.get_args(key.type))}
        case "list":
            return {"type": "array", **_items(key), **_bounds(key, _ENTRIES)}
    return dict(msgspec.json.schema(key.type))


def _items(key: Key) -> Mapping[str, Any]:
    items = msgspec.json.schema(key.type).get("items")
    return {"items": items} if items else {}


def _bounds(key: Key, names: Mapping[str, str]) -> dict[str, Any]:
    return {names[name]: value for name, value in key.bounds.items() if name in names}
