"""Settings in words: every effective value with where it came from, and what differs between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astra_core.config.resolve import value_at
from astra_core.config.schema import Section, keys_of
from astra_core.config.units import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astra_core.config.resolve import Loaded

__all__ = ["Difference", "Effective", "differences", "effective"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """One key: its value as an operator would write it (a secret as `***`), and its origin, with the line."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One key that two settings do not agree on, both values as an operator would write them."""

    key: str
    old: str
    new: str
    hot: bool


def effective(loaded: Loaded[Any]) -> Iterator[Effective]:
    """Yield every key of `loaded`, in the order of its schema."""
    for key in keys_of(type(loaded.settings)):
        value = key.show(value_at(loaded.settings, key.path))
        yield Effective(key=key.name, value=value, origin=loaded.where(key.name))


def differences(old: Section, new: Section) -> Iterator[Difference]:
    """Yield the keys whose values differ; both are of one schema. Of a secret that differs no part is shown."""
    for key in keys_of(type(old)):
        before, after = value_at(old, key.path), value_at(new, key.path)
        if before != after:
            shown = key.show(after)
            if isinstance(before, Secret) and isinstance(after, Secret):
                shown += " (another one)"
            yield Difference(key=key.name, old=key.show(before), new=shown, hot=key.hot)
