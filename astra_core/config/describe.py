"""The schema as a table for people, so that the manual cannot drift from the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astra_core.config.schema import REQUIRED, Key, Section, keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Row", "describe", "markdown"]

_TYPES = {"flag": "true or false", "integer": "whole number", "other": "structure"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One key as an operator reads it; `effect` is `hot` or `restart`."""

    key: str
    type: str
    default: str
    range: str
    effect: str
    doc: str


def describe(schema: type[Section]) -> tuple[Row, ...]:
    """Return a row for every key of `schema`, in the order in which they are written."""
    return tuple(
        Row(
            key=key.name,
            type=_type(key),
            default="required" if key.default is REQUIRED else f"`{key.show(key.default)}`",
            range=key.span(),
            effect="hot" if key.hot else "restart",
            doc=key.doc,
        )
        for key in keys_of(schema)
    )


def _type(key: Key) -> str:
    if key.kind == "choice":
        words = "one of " + ", ".join(f"`{choice}`" for choice in key.choices)
    else:
        words = _TYPES.get(key.kind, key.kind)
    return f"{words}, or null" if key.nullable else words


def markdown(schema: type[Section], *, prefix: str = "ASTRA", source: str) -> str:
    """Return the page `docs/settings.md`; `source` is how the command that makes it names the schema."""
    return "\n".join(_page(schema, prefix, source)) + "\n"


def _page(schema: type[Section], prefix: str, source: str) -> Iterator[str]:
    yield f"""# Settings

<!-- Made by `python -m astra_core.config {source} > docs/settings.md`; a test keeps it current. Do not edit. -->

Values are taken in this order, the later one winning:

1. the defaults below;
2. `settings/default.yaml`;
3. `settings/<environment>.yaml`;
4. `settings/.secrets.yaml`, which git ignores;
5. the files in the folder that `{prefix}_SECRETS` names, one a key, as Kubernetes and Docker mount secrets: the file
   `codes.key` holds the value of that key;
6. environment variables: `{prefix}_SECTION__KEY`, so `server.port` is `{prefix}_SERVER__PORT`;
7. in a cluster, what the watched source says.

`{prefix}_ENV` names the environment (`development` when unset), `{prefix}_SETTINGS` the folder (`settings` in the
working directory when unset). Without that folder the defaults and the variables serve alone. Each file may be
`.yaml`, `.yml`, `.json` or `.toml`; two of one stem are refused.

Every problem is reported at once, each with its key, the file and line or the variable, and what to write instead.
A key that is not in the tables below is an error. A list replaces the list of an earlier layer. Values are taken as
they stand: no text in them is expanded or run.

* A **duration** is `250ms`, `5s`, `2m`, `24h`, `7d`, or a bare number of seconds.
* A **size** is `64MiB`, `4KiB` (1,024s), `10MB`, `10KB` (1,000s), or a bare number of bytes.
* A **list** in a variable stands between commas, or as JSON: `a,b` or `["a", "b"]`. An empty variable is `null` where
  null is allowed.
* A **secret** is never printed. Put it into `.secrets.yaml`, in quotes, or into a variable.

*Effect* says when a changed value counts: `restart` with the next start, `hot` in the running process.

## While it runs

Settings are read again when a file in their folders changes, when SIGHUP comes, or when the watched source reports a
change. The candidate is loaded from nothing and checked whole, then swapped in at once or not at all:

* What is wrong with it is logged once, with every problem, and the settings in force stay. A file that is half written,
  broken, missing or out of range changes nothing.
* A key that needs a restart is refused by its name and the rest with it; with `reload.restart_keys: pending` the rest
  is taken, and the key waits.
* Objects keep their state: a breaker that is open stays open with its new parameters, a cache that was made smaller
  evicts. A request goes by the settings that were in force when it came.
* A folder that hangs, or cannot be looked at for another reason, is told of once, as a candidate refused, until it can
  be; then it is read.
* The log says who or what asked, the old and the new checksum, and each key with both values, secrets as `***`."""
    section = ""
    for row in describe(schema):
        above, _, name = row.key.rpartition(".")
        if above != section:
            section = above
            yield f"\n## {section}\n"
            yield "| key | type | default | range | effect | what it does |"
            yield "|---|---|---|---|---|---|"
        yield f"| `{name}` | {row.type} | {row.default} | {row.range} | {row.effect} | {row.doc} |"
