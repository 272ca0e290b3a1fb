"""`astra settings`: look at settings, and check them, without starting anything."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli.lines import say_problems
from app.settings import Settings, load_settings
from astra_core.config import File, differences, effective, json_schema, resolve
from astra_core.config.load import DEFAULT_ENVIRONMENT
from astra_core.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from astra_core.config import Loaded

__all__ = ["settings"]

_WIDEST = 40
"""Characters that a column of values takes at most; a longer value moves only its own line."""


def settings(options: argparse.Namespace) -> int:
    """Run one of the commands; the exit code is 2 when settings cannot be used."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `astra settings show | head` is no error
    try:
        {"show": show, "check": check, "schema": schema, "diff": diff}[options.action](options)
    except ConfigError as error:
        return say_problems(error)
    return 0


def show(options: argparse.Namespace) -> None:
    """Print every effective value with where it came from, also of what does not go together: that is said after it."""
    problems: tuple[str, ...] = ()
    try:
        loaded = load_settings(os.environ, environment=options.environment)
    except ConfigError as error:
        loaded = load_settings(os.environ, environment=options.environment, checks=False)
        problems = error.problems
    _print(loaded, as_json=options.json)
    if problems:
        raise ConfigError(problems)


def _print(loaded: Loaded[Settings], *, as_json: bool) -> None:
    rows = list(effective(loaded))
    if as_json:
        values = {row.key: {"value": row.value, "origin": row.origin} for row in rows}
        about = {"environment": loaded.environment, "checksum": loaded.checksum}
        print(json.dumps({**about, "settings": values}, indent=2, ensure_ascii=False))
        return
    print(f"# environment {loaded.environment}, checksum {loaded.checksum}")
    key, value = (max(len(getattr(row, name)) for row in rows) for name in ("key", "value"))
    value = min(value, _WIDEST)
    for row in rows:
        print(f"{row.key:<{key}}  {row.value:<{value}}  # {row.origin}")


def check(options: argparse.Namespace) -> None:
    """Load what `serve` would load, or the files named, in their order, over the defaults."""
    loaded: Loaded[Settings]
    if options.files:
        files = [File(path=Path(name), masked=Path(name).name.startswith(".secrets")) for name in options.files]
        loaded = resolve(Settings, files, environment=options.environment or DEFAULT_ENVIRONMENT)
    else:
        loaded = load_settings(os.environ, environment=options.environment)
    given = sum(origin != "default" for origin in loaded.origins.values())
    print(f"settings are good: environment {loaded.environment}, {given} keys set, checksum {loaded.checksum}")


def schema(options: argparse.Namespace) -> None:
    """Print the JSON Schema of a settings file."""
    print(document())


def document() -> str:
    """Return the JSON Schema as text, one key a line, so that a change of it reads well."""
    return json.dumps(json_schema(Settings, title="Settings of Astra"), indent=2, ensure_ascii=False)


def diff(options: argparse.Namespace) -> None:
    """Print what two environments do not agree on."""
    old, new = _each(options.old, options.new)
    found = list(differences(old.settings, new.settings))
    if not found:
        print(f"{options.old} and {options.new} do not differ")
        return
    rows = [("key", options.old, options.new, "effect")]
    rows += [(row.key, row.old, row.new, "hot" if row.hot else "restart") for row in found]
    widths = [min(max(len(row[column]) for row in rows), _WIDEST) for column in range(3)]
    for row in rows:
        print("  ".join((*(f"{text:<{width}}" for text, width in zip(row, widths, strict=False)), row[3])))


def _each(*environments: str) -> list[Loaded[Any]]:
    """Load environments beside the variables of this one; what they must hold to be served they need not hold here."""
    loaded: list[Loaded[Any]] = []
    problems: list[str] = []
    for name in environments:
        try:
            loaded.append(load_settings(os.environ, environment=name, checks=False))
        except ConfigError as error:
            problems += (problem for problem in error.problems if problem not in problems)
    if problems:
        raise ConfigError(problems)
    return loaded
