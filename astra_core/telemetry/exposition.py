"""From summed series to the text that a scraper reads, in pieces that hold the event loop for under a millisecond.

prometheus_client writes the formats. A family of many series is written some series at a time; the lines that describe
it stand in the first piece alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from astra_core.telemetry.family import Family, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Page", "metric_of"]

_PIECE: Final = 60
"""Samples in one piece: about 0.3 ms."""
_END: Final = b"# EOF\n"


class _One(Collector):
    """What the encoders ask for: something to collect from."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


class Page:
    """One answer to a scraper, in the format that its `Accept` header asks for."""

    def __init__(self, accept: str) -> None:
        encode, self.content_type = choose_encoder(accept)
        self._encode: Callable[[Collector], bytes] = encode
        self._is_open = "openmetrics" in self.content_type
        self._pieces: list[bytes] = []

    def add(self, metric: Metric) -> Iterator[None]:
        """Write a metric; yields after each piece."""
        for begin in range(0, max(1, len(metric.samples)), _PIECE):
            piece = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            piece.samples = metric.samples[begin : begin + _PIECE]
            text = self._encode(_One(piece)).removesuffix(_END)
            while begin and text.startswith(b"# "):
                text = text.partition(b"\n")[2]
            self._pieces.append(text)
            yield

    @property
    def body(self) -> bytes:
        """The whole text."""
        return b"".join((*self._pieces, _END if self._is_open else b""))


def metric_of(family: Family, series: Iterable[tuple[tuple[str, ...], Sequence[float]]]) -> Metric:
    """Return `family` as prometheus_client has it, with the figures of each label set."""
    metric = Metric(family.name, family.help, family.kind, family.unit)
    for values, figures in series:
        labels = dict(zip(family.labels, values, strict=True))
        match family.kind:
            case Kind.HISTOGRAM:
                _histogram(metric, family, labels, figures)
            case Kind.SUMMARY:
                metric.samples.append(Sample(f"{family.name}_count", labels, figures[0]))
                metric.samples.append(Sample(f"{family.name}_sum", labels, figures[1]))
            case Kind.INFO:
                metric.samples.append(Sample(f"{family.name}_info", labels, 1))
            case Kind.COUNTER:
                metric.samples.append(Sample(f"{family.name}_total", labels, figures[0]))
            case Kind.GAUGE:
                metric.samples.append(Sample(family.name, labels, figures[0]))
    return metric


def _histogram(metric: Metric, family: Family, labels: dict[str, str], figures: Sequence[float]) -> None:
    count = 0.0
    for bound, more in zip((*map(float, family.buckets), "+Inf"), figures, strict=False):
        count += more
        metric.samples.append(Sample(f"{family.name}_bucket", {**labels, "le": str(bound)}, count))
    metric.samples.append(Sample(f"{family.name}_count", labels, count))
    metric.samples.append(Sample(f"{family.name}_sum", labels, figures[-1]))
