"""The one place that knows dynaconf: it reads a file's text into plain values, and does nothing else.

A whole `Dynaconf(...)` does far more than an operator can foresee: it runs `@jinja`, `@read_file` and `@format` markers
in values, folds the case of keys, merges lists, follows includes, walks up the folders for files, adds `.local` files,
and obeys a dozen process variables of its own (`LOAD_DOTENV_FOR_DYNACONF`, `PRELOAD_FOR_DYNACONF`, …). So a fresh,
empty settings object is made for each read, only its loader's reading step is used, and layers, casts and origins are
ours.
"""

from __future__ import annotations

import json
import re
import tomllib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from astra_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FORMATS", "line_of", "parse"]

FORMATS: Final = MappingProxyType({".yaml": "YAML", ".yml": "YAML", ".json": "JSON", ".toml": "TOML"})
"""The ends of file names that are read, and the language of each."""
_TOML_LINE: Final = re.compile(r"\(at line (\d+)")
_TOML_TABLE: Final = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?")
_TOML_KEY: Final = re.compile(r"\s*([A-Za-z0-9_.\"' -]+?)\s*=")
_NO_NAME: Final = re.compile(r'found duplicate key "(?:True|False|None|[-+]?[0-9.]+(?:e[-+]?[0-9]+)?)"')


class _TwiceError(ValueError):
    """A key stands twice in one JSON object."""


def parse(content: bytes, *, origin: str, language: str = "YAML") -> Mapping[Any, Any]:
    """Return the mapping that `content` holds, {} when it is empty.

    ConfigError names `origin` and, where the parser knows it, the line. The parser's own words are left out where
    they quote the file, which may hold a secret.
    """
    from dynaconf.base import Settings  # costs 0.1 s and reads the process's variables: never at import
    from dynaconf.loaders.base import BaseLoader

    try:
        # The line feed keeps dynaconf from taking a text that ends in ".yaml" for the name of a file.
        text = content.decode("utf-8") + "\n"
        read = _readers()[language]
        blank = Settings(dynaconf_skip_loaders=True, dynaconf_skip_validators=True)
        loader = BaseLoader(blank, "_envless", language.lower(), tuple(FORMATS), read, read)
        tree = loader.get_source_data([text]).get(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{origin}:{line}: is not UTF-8; save the file as UTF-8"]) from None
    except RecursionError:
        raise ConfigError([f"{origin}: is nested too deep to be settings"]) from None
    except Exception as error:
        lines = max(content.count(b"\n", 0, -1) + 1, 1)
        raise ConfigError([_broken(error, origin, language, lines=lines)]) from None
    if tree is None or tree == [] or tree == "":
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{origin}:1: must hold sections (`server:` and below it `  port: 8080`)"])
    return tree


def _readers() -> Mapping[str, Callable[[str], Any]]:
    from dynaconf.vendor.ruamel import yaml

    return {"YAML": yaml.safe_load, "JSON": _json, "TOML": tomllib.loads}


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once) if text.strip() else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _TwiceError
    return found


def _broken(error: Exception, origin: str, language: str, *, lines: int) -> str:
    if language == "YAML":
        return _broken_yaml(error, origin, lines=lines)
    line = error.lineno if isinstance(error, json.JSONDecodeError) else None
    if found := _TOML_LINE.search(str(error)):
        line = int(found[1])
    where = origin if line is None else f"{origin}:{min(line, lines)}"
    if isinstance(error, _TwiceError):
        return f"{where}: a key is written twice in one section; remove one of the two"
    return f"{where}: broken {language}; look at this line and the one above it"


def _broken_yaml(error: Exception, origin: str, *, lines: int) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{origin}:{min(mark.line + 1, lines)}" if mark is not None else origin
    match type(error).__name__:
        case "DuplicateKeyError":
            if _NO_NAME.match(_first_line(error)):  # 1, 1.0 and true are equal, and so "twice" what was written once
                return f"{where}: a number, true, false or null cannot be a key; remove it"
            return f"{where}: a key is written twice in one section; remove one of the two"
        case "ParserError" | "ScannerError":
            return f"{where}: broken YAML ({_first_line(error)}); look at this line and the one above it"
        case "ComposerError":
            return f"{where}: broken YAML (a second document, or an alias without its anchor)"
        case "ConstructorError":
            return f"{where}: broken YAML (a tag or a key that settings cannot hold)"
        case "ReaderError":
            return f"{where}: broken YAML (a control character); remove it"
    return f"{where}: broken YAML (a value that does not fit its own form, such as the date 2020-13-01)"


def _first_line(error: Exception) -> str:
    """What the grammar says speaks of tokens and single characters, never of values."""
    return str(getattr(error, "problem", None) or "it ends too early").splitlines()[0]


def line_of(content: bytes, path: tuple[str, ...], *, language: str = "YAML") -> str:
    """Return `:12` when the key at `path` stands in line 12, "" when it is not found. Parses again: for messages."""
    return _toml_line(content, path) if language == "TOML" else _node_line(content, path)


def _node_line(content: bytes, path: tuple[str, ...]) -> str:
    """JSON is YAML too, as far as lines are concerned."""
    from dynaconf.vendor.ruamel import yaml

    try:
        node = yaml.compose(content.decode("utf-8"), Loader=yaml.SafeLoader)
    except (yaml.error.YAMLError, ValueError):
        return ""
    line = ""
    for name in path:
        pairs = node.value if isinstance(node, yaml.nodes.MappingNode) else ()
        found = next(((key, value) for key, value in pairs if str(key.value) == name), None)
        if found is None:
            return line
        line = f":{found[0].start_mark.line + 1}"
        node = found[1]
    return line


def _toml_line(content: bytes, path: tuple[str, ...]) -> str:
    """Find the key by its table header and name, the nearest table above it otherwise; tomllib tells no lines."""
    table: tuple[str, ...] = ()
    nearest, depth = "", 0
    for number, text in enumerate(content.decode("utf-8").splitlines(), start=1):
        if header := _TOML_TABLE.fullmatch(text):
            here = table = _toml_names(header[1])
        elif key := _TOML_KEY.match(text):
            here = (*table, *_toml_names(key[1]))
        else:
            continue
        if here == path[: len(here)] and len(here) > depth:
            nearest, depth = f":{number}", len(here)
    return nearest


def _toml_names(dotted: str) -> tuple[str, ...]:
    return tuple(name.strip().strip("\"'") for name in dotted.split("."))
