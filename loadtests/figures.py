"""What a load test says at its end: figures with their bars, as JSON on stdout and as one line each on stderr."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loadtests.ratios import Quartiles, quartiles

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Bar", "Figure", "Report", "at_least", "at_most", "progress"]

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """The limit that the median of a figure is held to, in the unit of the figure."""

    limit: float
    upper: bool

    def holds(self, value: float) -> bool:
        """Whether `value` is on the right side; the limit itself is."""
        return value <= self.limit if self.upper else value >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.upper else '>='} {self.limit:g}"


def at_most(limit: float) -> Bar:
    """The figure must not be above `limit`."""
    return Bar(limit, upper=True)


def at_least(limit: float) -> Bar:
    """The figure must not be below `limit`."""
    return Bar(limit, upper=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. `unit` is `ratio` for a figure without one."""

    name: str
    unit: str
    value: Quartiles
    bar: Bar | None = None

    @classmethod
    def single(cls, name: str, unit: str, value: float, bar: Bar | None = None) -> Figure:
        """A figure that was measured once, or is a maximum."""
        return cls(name, unit, quartiles([value]), bar)

    @property
    def holds(self) -> bool | None:
        """Whether the bar holds; None without one."""
        return None if self.bar is None else self.bar.holds(self.value.median)

    def as_json(self) -> dict[str, Any]:
        """Return the members of the JSON report."""
        value = self.value
        members: dict[str, Any] = {"unit": self.unit, "median": _rounded(value.median), "n": value.count}
        if value.count > 1:
            members |= {"q1": _rounded(value.q1), "q3": _rounded(value.q3), "spread": _rounded(value.spread)}
        if self.bar is not None:
            members |= {"bar": str(self.bar), "holds": self.holds}
        return members

    def __str__(self) -> str:
        value = self.value
        line = f"{self.name}: {_short(value.median)} {self.unit}"
        if value.count > 1:
            line += f" (quartiles {_short(value.q1)} to {_short(value.q3)}, n={value.count})"
        if self.bar is not None:
            line += f", bar {self.bar}: {'holds' if self.holds else 'MISSED'}"
        return line


@dataclass(slots=True)
class Report:
    """Everything that one load test measured, and the conditions it was measured in."""

    test: str
    conditions: Mapping[str, Any]
    figures: list[Figure] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Checks that failed (a wrong answer, a lost click); any of them makes the figures worthless."""
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON members."""
        return {
            "test": self.test,
            "conditions": dict(self.conditions),
            "figures": {figure.name: figure.as_json() for figure in self.figures},
            "faults": self.faults,
            "notes": self.notes,
        }

    def emit(self) -> int:
        """Print the report; return the exit code: 0 when all bars hold and nothing failed, else 1."""
        for line in (*map(str, self.figures), *(f"note: {note}" for note in self.notes)):
            progress(line)
        for fault in self.faults:
            progress(f"FAULT: {fault}")
        print(json.dumps(self.as_json(), indent=1))
        return 1 if self.faults or any(figure.holds is False for figure in self.figures) else 0


def progress(text: str) -> None:
    """Tell the person who waits; stdout stays clean for the JSON."""
    print(text, file=sys.stderr, flush=True)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}") if abs(value) < 10**_DIGITS else round(value)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
