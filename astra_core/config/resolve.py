"""Layers to one frozen settings value: later layers win, and everything wrong is found in one go."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from astra_core.config.convert import convert, expects, show
from astra_core.config.schema import REQUIRED, Key, Problem, Section, keys_of, sections_of
from astra_core.config.units import Secret
from astra_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from astra_core.config.sources import Entry, Layer, Source

__all__ = ["Loaded", "as_loaded", "hold_back", "resolve", "value_at"]

T = TypeVar("T", bound=Section)
Path = tuple[str, ...]
DEFAULT = "default"
_MEASURES = frozenset({"duration", "size", "integer", "number"})
"""Kinds of keys whose values may stand in a message whatever they are."""
_NEARLY = 0.8
"""How alike a name must be to be suggested (`difflib`): a slip or two, no other word."""
_ALIKE = 0.6
"""How alike a name beside it must be when no other is nearly it."""


def _nowhere(name: str) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Loaded(Generic[T]):
    """Settings that passed every check, and where they came from.

    `checksum` is equal in two processes exactly when every effective value is. `origins` gives for each key `default`,
    the path of a file, or the name of a variable; `line` the line in it, `:12`, "" where there is none, for messages.
    """

    settings: T
    checksum: str
    environment: str
    origins: Mapping[str, str]
    line: Callable[[str], str] = field(default=_nowhere, compare=False, repr=False)

    def where(self, name: str) -> str:
        """Return where the value of the key `name` was written, with its line where that is known."""
        return self.origins[name] + self.line(name)


def resolve(schema: type[T], sources: Sequence[Source], *, environment: str, checks: bool = True) -> Loaded[T]:
    """Read every source, the last one winning, and return the whole as one frozen value; it changes nothing else.

    ConfigError names every problem at once. Without `checks` the ones between keys are left out: such settings can be
    looked at, not used.
    """
    candidate = _Candidate(schema)
    for source in sources:
        try:
            layer = source.read()
        except ConfigError as error:
            candidate.problems += error.problems
        else:
            for entry in layer.entries:
                candidate.take(layer, entry, entry.path, entry.value)
    settings = candidate.build(environment, checks=checks)
    if settings is None:
        raise ConfigError(candidate.problems)
    return Loaded(
        settings=settings,
        checksum=_checksum(candidate.keys, candidate.values),
        environment=environment,
        origins=MappingProxyType(
            {key.name: candidate.origins.get(path, DEFAULT) for path, key in candidate.keys.items()}
        ),
        line=candidate.line,
    )


def as_loaded(settings: T, *, environment: str = "test") -> Loaded[T]:
    """Return settings that were made in code, for what takes loaded ones."""
    keys = {key.path: key for key in keys_of(type(settings))}
    values = {path: value_at(settings, path) for path in keys}
    return Loaded(
        settings=settings,
        checksum=_checksum(keys, values),
        environment=environment,
        origins=MappingProxyType({key.name: "code" for key in keys.values()}),
    )


def hold_back(new: Loaded[T], old: Loaded[T]) -> tuple[Loaded[T], tuple[str, ...]]:
    """Return `new` with every key that needs a restart as it is in `old`, and the names of those that differ.

    ConfigError when the hot keys of the one do not go with the others of the other.
    """
    keys = {key.path: key for key in keys_of(type(old.settings))}
    waiting = {path: value_at(old.settings, path) for path, key in keys.items() if not key.hot}
    pending = tuple(keys[path].name for path, value in waiting.items() if value != value_at(new.settings, path))
    if not pending:
        return new, ()
    values = {path: value_at(new.settings, path) for path in keys} | waiting
    settings = _assemble(type(new.settings), (), values)
    problems = [
        f"{problem.key}: {problem.text} (of {', '.join(pending)} the old value holds until a restart)"
        for problem in _check(settings, "", new.environment)
    ]
    if problems:
        raise ConfigError(problems)
    origins = {**new.origins, **{name: old.origins[name] for name in pending}}
    loaded = Loaded(
        settings=settings,
        checksum=_checksum(keys, values),
        environment=new.environment,
        origins=MappingProxyType(origins),
        line=lambda name: (old if name in pending else new).line(name),
    )
    return loaded, pending


def value_at(settings: Section, path: Path) -> Any:
    """Return the value of the key at `path`."""
    value: Any = settings
    for name in path:
        value = getattr(value, name)
    return value


class _Candidate(Generic[T]):
    """The values of one load while they are gathered."""

    def __init__(self, schema: type[T]) -> None:
        self.schema = schema
        self.keys = {key.path: key for key in keys_of(schema)}
        self.sections = {path[:depth] for path in self.keys for depth in range(1, len(path))}
        self.values: dict[Path, Any] = {path: key.default for path, key in self.keys.items()}
        self.origins: dict[Path, str] = {}
        self.layers: dict[Path, Layer] = {}
        self.bad: set[Path] = set()
        self.problems: list[str] = []

    def take(self, layer: Layer, entry: Entry, path: Path, value: object) -> None:
        """Put `value` at `path`, going down through sections."""
        key = self.keys.get(path)
        if key is not None:
            self._assign(layer, entry, key, value)
        elif path not in self.sections:
            self._refuse(layer, entry, path, self._unknown(layer, path))
        elif isinstance(value, Mapping):
            for name, below in value.items():
                self.take(layer, entry, (*path, str(name)), below)
        elif layer.text:
            self._refuse(
                layer, entry, path, f"is a section; set its keys, as in {layer.spell('.'.join(path) + '.KEY')}"
            )
        elif value is not None:  # a section whose keys are all commented out reads as None
            self._refuse(layer, entry, path, "is a section: write its keys below it, indented")

    def _unknown(self, layer: Layer, path: Path) -> str:
        name = ".".join(path)
        if now := self.schema.renamed.get(name):
            return f"is called {layer.spell(now)} now; write that instead"
        if why := self.schema.removed.get(name):
            return f"is no longer a setting ({why}); remove it"
        for depth in range(1, len(path)):
            if (key := self.keys.get(path[:depth])) is not None:
                how = ", all its items between commas" if key.kind == "list" else ""
                return f"unknown key; {key.name} holds no keys but {expects(key)}: write {layer.spell(key.name)}{how}"
        return f"unknown key; {_suggest(path, self.keys, layer)}"

    def _assign(self, layer: Layer, entry: Entry, key: Key, raw: object) -> None:
        self.origins[key.path], self.layers[key.path] = entry.origin, layer
        try:
            self.values[key.path] = convert(key, raw, text=layer.text)
            self.bad.discard(key.path)
        except ValueError as error:
            shown = "" if layer.masked or key.kind == "secret" else f", not {show(raw)}"
            self.bad.add(key.path)
            self._refuse(layer, entry, key.path, f"{error}{shown}")

    def _refuse(self, layer: Layer, entry: Entry, path: Path, text: str) -> None:
        self.problems.append(f"{_printable('.'.join(path))} ({_printable(entry.origin)}{layer.place(path)}): {text}")

    def build(self, environment: str, *, checks: bool) -> T | None:
        """Return the settings, None when there is any problem; checks between keys run on what is sound."""
        missing = [key for path, key in self.keys.items() if self.values[path] is REQUIRED and path not in self.bad]
        self.problems += (f"{key.name} (nowhere set): is required: {expects(key)}" for key in missing)
        if any(value is REQUIRED for value in self.values.values()):
            return None
        settings = _assemble(self.schema, (), self.values)
        bad = {".".join(path) for path in self.bad}
        for problem in _check(settings, "", environment) if checks else ():
            if bad.isdisjoint((problem.key, *problem.others)):
                where = self._where(problem.key)
                self.problems.append(f"{problem.key} ({where}): {problem.text}{self._compared(problem)}")
        return None if self.problems else settings

    def line(self, name: str) -> str:
        """Return the line of the key `name` where its value comes from, `:12`; looked for when it is asked for."""
        path = tuple(name.split("."))
        layer = self.layers.get(path)
        return "" if layer is None else layer.place(path)

    def _where(self, name: str) -> str:
        return _printable(self.origins.get(tuple(name.split(".")), DEFAULT)) + self.line(name)

    def _compared(self, problem: Problem) -> str:
        """Say what is compared with what, where each is a measure: whoever reads it sees which of them to change."""
        shown = [self._measure(name) for name in (problem.key, *problem.others)]
        if not problem.others or not all(shown):
            return ""
        others = (
            f"{name} is {value} ({self._where(name)})" for name, value in zip(problem.others, shown[1:], strict=True)
        )
        return f"; it is {shown[0]}, {', '.join(others)}"

    def _measure(self, name: str) -> str:
        path = tuple(name.split("."))
        key, layer = self.keys.get(path), self.layers.get(path)
        masked = layer is not None and layer.masked
        return key.show(self.values[path]) if key is not None and key.kind in _MEASURES and not masked else ""


def _assemble(schema: type[T], above: Path, values: Mapping[Path, Any]) -> T:
    sections = dict(sections_of(schema))
    return schema(
        **{
            name: _assemble(sections[name], (*above, name), values) if name in sections else values[*above, name]
            for name in schema.__struct_fields__
        }
    )


def _check(section: Section, above: str, environment: str) -> Iterator[Problem]:
    for name, _ in sections_of(type(section)):
        yield from _check(getattr(section, name), f"{above}{name}.", environment)
    for problem in section.check(environment):
        others = tuple(above + other for other in problem.others)
        yield Problem(key=above + problem.key, text=problem.text, others=others)


def _suggest(path: Path, keys: Collection[Path], layer: Layer) -> str:
    """Name the nearest known: nearly its name beside it, that very name or nearly its elsewhere, then one like it here.

    Two names in one section share half their letters, so beside it only the last part is compared.
    """
    names = [".".join(known) for known in keys]
    wanted = ".".join(path).lower().replace("-", "_")
    if wanted in names and len(path) == 1:
        return "write it nested: each section on a line of its own, its keys below it, indented"
    last = wanted.rpartition(".")[2]
    above, beside = _beside(path, keys)
    here = len(above) == len(path) - 1
    near = _alike(last, above, beside, cutoff=_NEARLY) if here else []
    if not near:
        near = [name for name in names if name.rpartition(".")[2] == last][:3]
    if not near:
        groups = {known[:depth] for known in keys for depth in range(1, len(known))}
        far = sorted(".".join(one) for one in {*keys, *groups} if one[: len(above)] != above[: len(one)] or not above)
        near = difflib.get_close_matches(wanted, far, n=1, cutoff=_NEARLY)
    if not near and here:
        near = _alike(last, above, beside, cutoff=_ALIKE)
    if near:
        return f"did you mean {' or '.join(layer.spell(name) for name in near)}?"
    return f"remove it; known here: {', '.join(beside)}"


def _alike(last: str, above: Path, beside: Collection[str], *, cutoff: float) -> list[str]:
    return [".".join((*above, name)) for name in difflib.get_close_matches(last, beside, n=1, cutoff=cutoff)]


def _beside(path: Path, keys: Collection[Path]) -> tuple[Path, list[str]]:
    """Return the nearest section above `path` that there is, and the names of what it holds."""
    above = path[:-1]
    while not (beside := list(dict.fromkeys(known[len(above)] for known in keys if known[: len(above)] == above))):
        above = above[:-1]
    return above, beside


def _printable(name: str) -> str:
    """Names come from outside: keep a message on one short line."""
    short = name if len(name) <= 120 else name[:117] + "..."
    return short if short.isprintable() else ascii(short)


def _checksum(keys: Mapping[Path, Key], values: Mapping[Path, Any]) -> str:
    """SHA-256 over every effective value, in 16 hex digits.

    A secret enters through scrypt (10 ms each): the checksum is shown to others, and must not let them test guesses.
    """
    plain = {}
    for path, key in keys.items():
        value = values[path]
        if isinstance(value, Secret):
            secret = value.reveal().encode("utf-8", "surrogatepass")
            value = hashlib.scrypt(secret, salt=key.name.encode(), n=4096, r=8, p=1).hex()
        plain[key.name] = value
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=repr).encode()).hexdigest()[:16]
