"""A family of metrics as data: its name, what it means, its unit, its labels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Across", "Family", "Kind"]


class Kind(StrEnum):
    """What a family counts in; the names are OpenMetrics'."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    INFO = "info"


class Across(StrEnum):
    """How a gauge of several workers becomes one figure."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One row of a table of metrics.

    `name` is written as it is exported, with its unit, and without the `_total` of a counter or the `_info` of an
    info. `buckets` are the upper bounds of a histogram in its unit, ascending, without the infinite one. `across` is
    for gauges: counters, histograms and summaries of several workers are always summed.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    across: Across = Across.SUM

    @property
    def samples(self) -> tuple[str, ...]:
        """The names of the series that it exports."""
        match self.kind:
            case Kind.COUNTER:
                return (f"{self.name}_total",)
            case Kind.INFO:
                return (f"{self.name}_info",)
            case Kind.HISTOGRAM:
                return (f"{self.name}_bucket", f"{self.name}_count", f"{self.name}_sum")
            case Kind.SUMMARY:
                return (f"{self.name}_count", f"{self.name}_sum")
            case Kind.GAUGE:
                return (self.name,)
