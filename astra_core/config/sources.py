"""Where values come from: a source is read whole, at once, into a layer; nothing is converted or merged here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from astra_core.config import reader
from astra_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

__all__ = ["Entry", "EnvironmentVariables", "File", "Layer", "SecretFiles", "Source"]

KUBERNETES: Final = re.compile(
    r"(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
"""What Kubernetes puts into each pod for a Service named like the prefix; beside these, `…PORT=tcp://…`."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One value at one path: a leaf, or a mapping of further values."""

    path: tuple[str, ...]
    value: object
    origin: str


def _nowhere(path: tuple[str, ...]) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one source says. `text`: its values are all text; `masked`: none of its values is ever shown.

    `place` gives the line of a path (`:12`) for messages, `spell` the way to write a key in this source.
    """

    entries: tuple[Entry, ...]
    text: bool = False
    masked: bool = False
    place: Callable[[tuple[str, ...]], str] = _nowhere
    spell: Callable[[str], str] = str


class Source(Protocol):
    """A file, the environment variables, or a coordination service."""

    def read(self) -> Layer:
        """Read everything now; ConfigError with a line for each problem when that cannot be done."""
        ...


@dataclass(frozen=True, kw_only=True)
class File:
    """A YAML, JSON or TOML file, by the end of its name; named in origins as its path was given."""

    path: Path
    masked: bool = False

    def read(self) -> Layer:
        """Read the file; a broken one is named with its line, never with its content."""
        origin = str(self.path)
        try:
            content = self.path.read_bytes()
        except IsADirectoryError:
            raise ConfigError([f"{origin}: is a folder; name the files in it"]) from None
        except OSError as error:
            raise ConfigError([f"{origin}: cannot be read: {error.strerror}"]) from error
        language = reader.FORMATS.get(self.path.suffix)
        if language is None:
            raise ConfigError([f"{origin}: is no settings file; its name must end in {', '.join(reader.FORMATS)}"])
        tree = reader.parse(content, origin=origin, language=language)
        entries = tuple(Entry(path=(str(key),), value=value, origin=origin) for key, value in tree.items())
        return Layer(
            entries=entries, masked=self.masked, place=lambda path: reader.line_of(content, path, language=language)
        )


@dataclass(frozen=True, kw_only=True)
class SecretFiles:
    """A folder with a file a key, as Kubernetes and Docker mount secrets: `codes.key` holds the value of that key.

    A line feed at the end is no part of the value. Names that begin with a dot are left alone: Kubernetes keeps the
    mounted versions there.
    """

    folder: Path

    def read(self) -> Layer:
        """Read every file; none of their values is ever shown."""
        entries: list[Entry] = []
        problems: list[str] = []
        try:
            paths = sorted(path for path in self.folder.iterdir() if not path.name.startswith("."))
        except OSError as error:
            raise ConfigError([f"secrets folder {str(self.folder)!r}: cannot be read: {error.strerror}"]) from error
        for path in paths:
            try:
                value = path.read_bytes().decode("utf-8")
            except OSError as error:
                problems.append(f"{path}: cannot be read: {error.strerror}")
            except UnicodeDecodeError:
                problems.append(f"{path}: is not UTF-8")
            else:
                name = tuple(path.name.split("."))
                entries.append(Entry(path=name, value=value.removesuffix("\n").removesuffix("\r"), origin=str(path)))
        if problems:
            raise ConfigError(problems)
        return Layer(entries=tuple(entries), text=True, masked=True)


@dataclass(frozen=True, kw_only=True)
class EnvironmentVariables:
    """`PREFIX_SECTION__KEY` variables; `reserved` names (with the prefix) are not keys."""

    environ: Mapping[str, str]
    prefix: str
    reserved: Collection[str] = ()

    def read(self) -> Layer:
        """Take the variables of the prefix, in the order of their names."""
        head = f"{self.prefix}_"
        return Layer(
            entries=tuple(
                Entry(path=self._path(name[len(head) :]), value=value, origin=name)
                for name, value in sorted(self.environ.items())
                if name.startswith(head) and name not in self.reserved and not _kubernetes(name[len(head) :], value)
            ),
            text=True,
            spell=lambda key: head + key.replace(".", "__").upper(),
        )

    def _path(self, rest: str) -> tuple[str, ...]:
        """Fold a name that is all upper case; any other becomes a path that no schema has, and so is refused."""
        return tuple((rest.lower() if rest == rest.upper() else rest.upper()).split("__"))


def _kubernetes(rest: str, value: str) -> bool:
    linked = re.fullmatch(r"(?:\w+_)?PORT", rest) is not None and re.match(r"(?:tcp|udp|sctp)://", value) is not None
    return "__" not in rest and (linked or KUBERNETES.fullmatch(rest) is not None)
