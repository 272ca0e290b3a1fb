"""Medians, quartiles and paired ratios: the only statistics that the load tests report."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Quartiles", "paired", "percentile", "quartiles"]


@dataclass(frozen=True, slots=True)
class Quartiles:
    """The middle half of repeated measurements, in the unit of the measurement."""

    q1: float
    median: float
    q3: float
    count: int

    @property
    def spread(self) -> float:
        """The interquartile range as a share of the median: how noisy the figure is."""
        return (self.q3 - self.q1) / self.median if self.median else math.nan


def quartiles(values: Sequence[float]) -> Quartiles:
    """Return the quartiles, interpolated between neighbours (Hyndman and Fan, type 7); `values` must not be empty."""
    if len(values) == 1:
        return Quartiles(values[0], values[0], values[0], 1)
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(q1, median, q3, len(values))


def paired(numerators: Sequence[float], denominators: Sequence[float]) -> Quartiles:
    """Return the quartiles of the ratios within each round, which slow drift of the machine leaves alone."""
    return quartiles([above / below for above, below in zip(numerators, denominators, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest value that at least `share` (0 to 1) of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
