"""What a settings schema is made of: sections of keys, each with its type, default, range and text beside it.

class Server(Section, frozen=True, kw_only=True):
    port: Annotated[int, restart("TCP port to listen on.", ge=0, le=65_535)] = 8080
    drain_timeout: Annotated[Duration, hot("How long requests may end after SIGTERM.", le=60)] = 4.0
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping  # noqa: TC003 - msgspec reads the annotations of a struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypedDict, Union, Unpack

import msgspec

from astra_core.config.units import Secret, format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["REQUIRED", "Bounds", "Key", "Problem", "Section", "hot", "keys_of", "restart", "sections_of"]

REQUIRED = msgspec.NODEFAULT
"""The default of a key that has none: a source must give its value."""


class Bounds(TypedDict, total=False):
    """The ranges a key may state; a duration's are in seconds, a size's in bytes, both at least 0 anyway."""

    ge: float
    le: float
    min_length: int
    max_length: int
    pattern: str


def hot(doc: str, **bounds: Unpack[Bounds]) -> msgspec.Meta:
    """Describe a key whose change takes effect in a running process, once reloads exist."""
    return _meta(doc, hot=True, bounds=bounds)


def restart(doc: str, **bounds: Unpack[Bounds]) -> msgspec.Meta:
    """Describe a key whose change needs a new process."""
    return _meta(doc, hot=False, bounds=bounds)


def _meta(doc: str, *, hot: bool, bounds: Bounds) -> msgspec.Meta:
    ranges: dict[str, Any] = {**bounds}  # msgspec's overloads cannot take a typed mapping
    meta: msgspec.Meta = msgspec.Meta(description=doc, extra={"hot": hot}, **ranges)
    return meta


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A fault between keys: the `key` to mend, what is wrong with the remedy, and the `others` it is compared with."""

    key: str
    text: str
    others: tuple[str, ...] = ()


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of keys, or of sections. Subclass it with `frozen=True, kw_only=True`.

    The outermost one tells of keys that files may still hold: `renamed` maps an old key to its new name, `removed` an
    old key to the reason, both with their sections: `{"server.timeout": "http.deadline"}`.
    """

    renamed: ClassVar[Mapping[str, str]] = types.MappingProxyType({})
    removed: ClassVar[Mapping[str, str]] = types.MappingProxyType({})

    def check(self, environment: str) -> Iterable[Problem]:
        """Yield what is wrong between keys, named relative to this section; each key alone is in its range already.

        `environment` is the name the settings were loaded for. Never put a value that may hold a password in a text.
        """
        return ()


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of a schema, read from its annotation."""

    path: tuple[str, ...]
    type: Any  # what msgspec converts to, `None` taken out
    kind: str  # duration, size, secret, flag, integer, number, text, choice, list, other
    nullable: bool
    default: Any
    doc: str
    hot: bool
    choices: tuple[str, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def name(self) -> str:
        """The key with its sections, as problems and origins name it: `links.base_url`."""
        return ".".join(self.path)

    def show(self, value: object) -> str:
        """Return `value` as an operator would write it; a secret stays masked."""
        if value is None:
            return "null"
        match self.kind:
            case "duration":
                return format_duration(typing.cast("float", value))
            case "size":
                return format_size(typing.cast("int", value))
            case "flag":
                return str(value).lower()
            case "secret":
                return "***"
            case "list":
                return "[" + ", ".join(str(item) for item in typing.cast("list[object]", value)) + "]"
        return str(value)

    def span(self) -> str:
        """Return the range in words, "" when the type says it all."""
        low, high = self.bounds.get("ge"), self.bounds.get("le")
        if self.kind in ("duration", "size") and low is None:
            low = 0
        if low is not None and high is not None:
            words = f"from {self.show(low)} to {self.show(high)}"
        elif low is not None:
            words = f"at least {self.show(low)}"
        elif high is not None:
            words = f"at most {self.show(high)}"
        else:
            words = ""
        what = "entries" if self.kind == "list" else "characters"
        if (least := self.bounds.get("min_length", 0)) > 0:
            words = f"{words} not empty" if least == 1 else f"{words} at least {least} {what}"
        if "max_length" in self.bounds:
            words = f"{words} at most {self.bounds['max_length']} {what}"
        if "pattern" in self.bounds:
            words = f"{words} matching {self.bounds['pattern']}"
        return words.strip()


def sections_of(schema: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    """Yield the sections that stand directly in `schema`, by name."""
    for item in msgspec.structs.fields(schema):
        if isinstance(item.type, type) and issubclass(item.type, Section):
            yield item.name, item.type


def keys_of(schema: type[Section], above: tuple[str, ...] = ()) -> Iterator[Key]:
    """Yield every key of `schema` and of the sections in it, in the order in which they are written."""
    sections = dict(sections_of(schema))
    for item in msgspec.structs.fields(schema):
        path = (*above, item.name)
        if item.name in sections:
            yield from keys_of(sections[item.name], path)
        else:
            yield _key(path, item)


def _key(path: tuple[str, ...], item: msgspec.structs.FieldInfo) -> Key:
    inner, metas, nullable = _unwrap(item.type)
    extra: dict[str, Any] = {}
    bounds: dict[str, Any] = {}
    for meta in metas:
        extra |= meta.extra or {}
        bounds |= {name: value for name in Bounds.__annotations__ if (value := getattr(meta, name)) is not None}
    default = item.default
    if item.default_factory is not msgspec.NODEFAULT:
        default = item.default_factory()
    return Key(
        path=path,
        type=Annotated[(inner, msgspec.Meta(**bounds))] if bounds else inner,
        kind=extra.get("unit") or _kind(inner),
        nullable=nullable,
        default=default,
        doc=next((meta.description for meta in metas if meta.description), ""),
        hot=bool(extra.get("hot", False)),
        choices=tuple(str(choice) for choice in typing.get_args(inner)) if _kind(inner) == "choice" else (),
        bounds=typing.cast("Bounds", bounds),
    )


def _unwrap(annotation: Any) -> tuple[Any, tuple[msgspec.Meta, ...], bool]:
    """Return the bare type, every Meta on it from the inside out, and whether None is allowed."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        inner, metas, nullable = _unwrap(annotation.__origin__)
        return (
            inner,
            metas + tuple(meta for meta in annotation.__metadata__ if isinstance(meta, msgspec.Meta)),
            nullable,
        )
    if origin in (Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not types.NoneType]
        nullable = len(members) < len(typing.get_args(annotation))
        if len(members) == 1:
            inner, metas, _ = _unwrap(members[0])
            return inner, metas, nullable
        return Union[tuple(members)], (), nullable  # noqa: UP007 - built from a list
    return annotation, (), False


def _kind(inner: Any) -> str:
    if typing.get_origin(inner) is Literal:
        return "choice"
    if typing.get_origin(inner) in (list, tuple):
        return "list"
    kinds = {Secret: "secret", bool: "flag", int: "integer", float: "number", str: "text"}
    return kinds.get(inner, "other")
