"""One record a route, method and class of status, from which all metrics of HTTP requests are derived when asked for.

The names and labels are prometheus-fastapi-instrumentator's. That package moves five metrics a request, each looked up
by its labels; here a request moves five numbers of one record, and what the metrics have in common is summed later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample

from astra_core.telemetry import names
from astra_core.telemetry.family import Family, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["BOUNDS", "HTTP", "REQUEST_BYTES", "RESPONSE_BYTES", "SECONDS", "WIDTH", "derived"]

HTTP: Final = Family(
    name="http_record",
    kind=Kind.HISTOGRAM,
    help="Not exported: see the families derived from it.",
    labels=("handler", "method", "status"),
)
BOUNDS: Final = tuple(sorted({*names.HTTP_DURATION.buckets, *names.HTTP_DURATION_HIGHR.buckets}))
"""Buckets of a record: every bound that a derived histogram has."""
SECONDS: Final = len(BOUNDS) + 1
"""Place of the sum of durations in a record; the counts a bucket stand before it."""
REQUEST_BYTES: Final = SECONDS + 1
RESPONSE_BYTES: Final = SECONDS + 2
WIDTH: Final = SECONDS + 3

Records: TypeAlias = "Mapping[tuple[str, ...], Sequence[float]]"


def derived(records: Records, exemplars: Mapping[tuple[str, ...], Mapping[int, Exemplar]]) -> Iterator[Metric]:
    """Yield the metrics of `records`, by handler, method and status; `exemplars` are theirs, by bucket."""
    requests = _metric(names.HTTP_REQUESTS)
    for labels, record in sorted(records.items()):
        _add(requests, "_total", dict(zip(HTTP.labels, labels, strict=True)), sum(record[:SECONDS]))
    yield requests
    yield from _durations(records, exemplars)
    for family, place in ((names.HTTP_REQUEST_SIZE, REQUEST_BYTES), (names.HTTP_RESPONSE_SIZE, RESPONSE_BYTES)):
        metric = _metric(family)
        for (handler,), sums in sorted(_summed(records, 1).items()):
            _add(metric, "_count", {"handler": handler}, sum(sums[:SECONDS]))
            _add(metric, "_sum", {"handler": handler}, sums[place])
        yield metric


def _durations(records: Records, exemplars: Mapping[tuple[str, ...], Mapping[int, Exemplar]]) -> Iterator[Metric]:
    shown: dict[tuple[str, ...], dict[int, Exemplar]] = {}
    for labels, found in tuple(exemplars.items()):
        shown.setdefault(labels[:2], {}).update(found)
    duration = _metric(names.HTTP_DURATION)
    for labels, sums in sorted(_summed(records, 2).items()):
        named = dict(zip(("handler", "method"), labels, strict=True))
        _histogram(duration, names.HTTP_DURATION, named, sums, shown.get(labels, {}))
    yield duration
    fine = _metric(names.HTTP_DURATION_HIGHR)
    for sums in _summed(records, 0).values():
        _histogram(fine, names.HTTP_DURATION_HIGHR, {}, sums, {})
    yield fine


def _summed(records: Records, depth: int) -> dict[tuple[str, ...], list[float]]:
    """Sum the records whose first `depth` labels are equal."""
    sums: dict[tuple[str, ...], list[float]] = {}
    for labels, record in records.items():
        into = sums.setdefault(labels[:depth], [0] * WIDTH)
        for place, value in enumerate(record):
            into[place] += value
    return sums


def _histogram(
    metric: Metric,
    family: Family,
    labels: dict[str, str],
    sums: Sequence[float],
    exemplars: Mapping[int, Exemplar],
) -> None:
    """Fold the fine buckets into those of `family`, cumulative as the format wants them."""
    below = 0
    for bound in family.buckets:
        upto = BOUNDS.index(bound) + 1
        _bucket(metric, {**labels, "le": str(float(bound))}, sum(sums[:upto]), exemplars, range(below, upto))
        below = upto
    count = sum(sums[:SECONDS])
    _bucket(metric, {**labels, "le": "+Inf"}, count, exemplars, range(below, SECONDS))
    _add(metric, "_count", labels, count)
    _add(metric, "_sum", labels, sums[SECONDS])


def _bucket(
    metric: Metric, labels: dict[str, str], count: float, exemplars: Mapping[int, Exemplar], places: range
) -> None:
    exemplar = next((found for place in places if (found := exemplars.get(place)) is not None), None)
    metric.samples.append(Sample(f"{metric.name}_bucket", labels, count, None, exemplar))


def _metric(family: Family) -> Metric:
    return Metric(family.name, family.help, family.kind, family.unit)


def _add(metric: Metric, suffix: str, labels: dict[str, str], value: float) -> None:
    metric.samples.append(Sample(metric.name + suffix, labels, value))
