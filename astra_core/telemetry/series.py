"""The figures of this process: plain numbers in one list, and the handles that move them.

A handle is bound once, to places in the list; moving it is one list store, with no lock and no look-up by name. One
event loop, or one thread, to a table.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from astra_core.errors import DefinitionError
from astra_core.telemetry.family import Family, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["OTHER", "Counter", "Gauge", "Histogram", "Series", "Table", "width_of"]

OTHER: Final = "other"
"""The label value of everything beyond the bound of a family."""
_LONGEST: Final = 128
"""Characters of a label value."""


def width_of(family: Family) -> int:
    """Return how many numbers one series of `family` is: a count a bucket, the infinite one too, and the sum."""
    match family.kind:
        case Kind.HISTOGRAM:
            return len(family.buckets) + 2
        case Kind.SUMMARY:
            return 2
    return 1


@dataclass(frozen=True, slots=True)
class Series:
    """Where the numbers of one label set stand in the list."""

    family: Family
    labels: tuple[str, ...]
    at: int
    width: int


class Counter:
    """Counts up."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: list[float], at: int) -> None:
        self._values = values
        self._at = at

    def inc(self, n: float = 1) -> None:
        """Add `n`, which is not negative."""
        self._values[self._at] += n


class Gauge:
    """Goes up and down."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: list[float], at: int) -> None:
        self._values = values
        self._at = at

    def set(self, value: float) -> None:
        """Put `value` in place of what was."""
        self._values[self._at] = value

    def inc(self, n: float = 1) -> None:
        """Add `n`."""
        self._values[self._at] += n

    def dec(self, n: float = 1) -> None:
        """Take `n` away."""
        self._values[self._at] -= n


class Histogram:
    """Counts values by how great they are."""

    __slots__ = ("_at", "_bounds", "_sum", "_values")

    def __init__(self, values: list[float], at: int, bounds: Sequence[float]) -> None:
        self._values = values
        self._at = at
        self._bounds = bounds
        self._sum = at + len(bounds) + 1

    def observe(self, value: float) -> None:
        """Count one value, in the unit of the family."""
        values = self._values
        values[self._at + bisect_left(self._bounds, value)] += 1
        values[self._sum] += value


class Table:
    """Every series of one process, for the families it was made for; at most `max_series` of each.

    An info is not bounded: its labels are the program's own words, and what it says last must be told as it is.
    """

    def __init__(self, families: Iterable[Family], *, max_series: int) -> None:
        self.values: list[float] = []
        self.series: list[Series] = []
        self.refused: dict[str, int] = {}
        """By family: times that a label set was folded into `other`."""
        self._max = max_series
        self._found: dict[Family, dict[tuple[str, ...], Series]] = {family: {} for family in families}

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Iterator[tuple[Series, list[float]]]:
        for one in self.series:
            yield one, self.values[one.at : one.at + one.width]

    def bind(self, family: Family, labels: tuple[str, ...], kinds: Sequence[Kind], *, width: int = 0) -> Series:
        """Return the series of these labels, made if need be. Raises `DefinitionError` for a mistake in code."""
        found = self._found.get(family)
        if found is None or family.kind not in kinds or len(labels) != len(family.labels):
            raise _mistake(family, labels, kinds, known=found is not None)
        series = found.get(labels)
        if series is not None:
            return series
        short = tuple(label[:_LONGEST] for label in labels)
        if len(found) >= self._max and short not in found and family.kind is not Kind.INFO:
            self.refused[family.name] = self.refused.get(family.name, 0) + 1
            short = (OTHER,) * len(labels)
        series = found.get(short)
        if series is None:
            series = found[short] = self._add(family, short, width or width_of(family))
        return series

    def _add(self, family: Family, labels: tuple[str, ...], width: int) -> Series:
        series = Series(family, labels, len(self.values), width)
        self.values.extend([0] * width)
        self.series.append(series)
        return series


def _mistake(family: Family, labels: tuple[str, ...], kinds: Sequence[Kind], *, known: bool) -> DefinitionError:
    if not known:
        return DefinitionError(family.name, ["is in none of the tables that these metrics were made for"])
    if family.kind not in kinds:
        return DefinitionError(family.name, [f"is a {family.kind}, not a {kinds[0]}"])
    return DefinitionError(family.name, [f"has the labels {family.labels}, not the {len(labels)} values {labels}"])
