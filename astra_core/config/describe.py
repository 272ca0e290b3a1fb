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
5. environment variables: `{prefix}_SECTION__KEY`, so `server.port` is `{prefix}_SERVER__PORT`.

`{prefix}_ENV` names the environment (`development` when unset), `{prefix}_SETTINGS` the folder (`settings` in the
working directory when unset). Without that folder the defaults and the variables serve alone.

Every problem is reported at once, each with its key, the file and line or the variable, and what to write instead.
A key that is not in the tables below is an error. A list replaces the list of an earlier layer. Values are taken as
they stand: no text in them is expanded or run.

* A **duration** is `250ms`, `5s`, `2m`, `24h`, `7d`, or a bare number of seconds.
* A **size** is `64MiB`, `4KiB` (1,024s), `10MB`, `10KB` (1,000s), or a bare number of bytes.
* A **list** in a variable stands between commas, or as JSON: `a,b` or `["a", "b"]`. An empty variable is `null` where
  null is allowed.
* A **secret** is never printed. Put it into `.secrets.yaml`, in quotes, or into a variable.

*Effect* says when a changed value counts: `restart` with the next start, `hot` in the running process. Reading settings
again while running is not built yet: until then every change needs a restart."""
    section = ""
    for row in describe(schema):
        above, _, name = row.key.rpartition(".")
        if above != section:
            section = above
            yield f"\n## {section}\n"
            yield "| key | type | default | range | effect | what it does |"
            yield "|---|---|---|---|---|---|"
        yield f"| `{name}` | {row.type} | {row.default} | {row.range} | {row.effect} | {row.doc} |"
