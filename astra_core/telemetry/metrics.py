"""The metrics of a service: handles that cost a list store, and one page for all of its worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import threading
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from astra_core.errors import AstraError
from astra_core.telemetry import names
from astra_core.telemetry.exposition import Page, metric_of
from astra_core.telemetry.family import Across, Family, Kind
from astra_core.telemetry.folder import Folder, Sums
from astra_core.telemetry.http_record import HTTP, SECONDS, WIDTH, derived
from astra_core.telemetry.mapped import Figures, WorkerFile
from astra_core.telemetry.series import Counter, Gauge, Histogram, Series, Table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Exemplar

    from astra_core.clock import Clock

__all__ = ["Metrics"]

logger = logging.getLogger(__name__)

_STALE = 60.0
"""Seconds for which the others' figures are shown though they cannot be read anew; also between two complaints."""


async def _at_once(call: Callable[[], Any]) -> Any:
    return call()


class Metrics:
    """Every figure of one process, and, through a `folder`, of all the processes that share it.

    `families` are the tables; a family that is in none of them is refused when it is bound. Handles are bound once and
    kept: `counter`, `gauge`, `histogram`. A figure that an object keeps anyway is looked at instead: `watch`. A family
    has at most `max_series` label sets; further ones become `other`, and are counted.

    Workers show each other what they `publish` into a mapped file; call it every second or so. What was published
    stays when a worker dies, so a total never falls; what a gauge showed goes with its worker. `run` calls what reads
    the others' files; give it a pool of threads, without one they are read on the spot, as they are in memory anyway.
    A folder that cannot be read costs the other workers' figures, never the service: for a minute those read last are
    shown in their place, so that no total falls for a moment's failure.

    `registry` is for metrics of your own, made with prometheus_client; they are shown by the process that has them.
    """

    def __init__(
        self,
        families: Iterable[Family],
        *,
        clock: Clock,
        folder: Path | None = None,
        max_series: int = 1_000,
        run: Callable[[Callable[[], Any]], Awaitable[Any]] = _at_once,
    ) -> None:
        self.families = tuple(dict.fromkeys(families))
        self.registry = CollectorRegistry()
        self.exemplars: dict[tuple[str, ...], dict[int, Exemplar]] = {}
        """Of HTTP records: by labels and bucket, the newest; kept by `MetricsMiddleware`."""
        self.http_begun = 0
        """Requests that began in this process; moved by `MetricsMiddleware`."""
        self._clock = clock
        self._max = max_series
        self._table = Table((*self.families, HTTP), max_series=max_series)
        self._watched: dict[Series, Callable[[], float]] = {}
        self._folder = None if folder is None else Folder(folder, max_series=max_series)
        self._run = run
        self._file: WorkerFile | None = None
        self._renders: dict[str, asyncio.Task[tuple[str, bytes]]] = {}
        self._collecting = False
        self._publishing = threading.Lock()
        self._last: tuple[list[Figures], list[Figures]] = ([], [])
        self._read = self._complained = -math.inf
        self.registry.register(_Ours(self))

    def counter(self, family: Family, *labels: str) -> Counter:
        """Return the handle of a counter. Raises `DefinitionError` for a family or labels that do not fit."""
        series = self._table.bind(family, labels, (Kind.COUNTER,))
        return Counter(self._table.values, series.at)

    def gauge(self, family: Family, *labels: str) -> Gauge:
        """Return the handle of a gauge. Raises `DefinitionError`."""
        series = self._table.bind(family, labels, (Kind.GAUGE,))
        return Gauge(self._table.values, series.at)

    def histogram(self, family: Family, *labels: str) -> Histogram:
        """Return the handle of a histogram. Raises `DefinitionError`."""
        series = self._table.bind(family, labels, (Kind.HISTOGRAM,))
        return Histogram(self._table.values, series.at, family.buckets)

    def info(self, family: Family, *labels: str) -> None:
        """Say something in labels alone, in place of what was said of this family before. Raises `DefinitionError`."""
        for series, _ in self._table:
            if series.family is family:
                self._table.values[series.at] = 0
        self._table.values[self._table.bind(family, labels, (Kind.INFO,)).at] = 1

    def watch(self, family: Family, read: Callable[[], float], *labels: str) -> None:
        """Look at a figure by `read` whenever somebody asks; a counter's must never fall. Raises `DefinitionError`."""
        self._watched[self._table.bind(family, labels, (Kind.COUNTER, Kind.GAUGE))] = read

    def http_record(self, handler: str, method: str, status: str) -> tuple[list[float], int]:
        """Return the list and the place in it of one record of HTTP requests: see `http_record`."""
        series = self._table.bind(HTTP, (handler, method, status), (Kind.HISTOGRAM,), width=WIDTH)
        return self._table.values, series.at

    def http_in_progress(self) -> int:
        """Return how many requests have begun and not ended; those that ended are counted in the records anyway."""
        ended = sum(sum(values[:SECONDS]) for series, values in self._table if series.family is HTTP)
        return self.http_begun - int(ended)

    async def open(self, *, within: str = "") -> None:
        """Make this process's file, and take over what earlier ones left. Raises nothing: a folder may fail us.

        `within` names a folder in the `folder`, for services that share that one and not their figures.
        """
        if self._folder is None:
            return
        self._folder.path = self._folder.path / within
        try:
            self._file = await self._run(self._begin)
            self.publish()
        except (OSError, AstraError) as error:
            self._complain(error)
            self._folder = None

    def _begin(self) -> WorkerFile:
        assert self._folder is not None  # noqa: S101 - the one caller has looked
        self._folder.make()
        file = WorkerFile.create(self._folder.path, name=os.urandom(16).hex())
        with contextlib.suppress(TimeoutError):  # somebody holds the lock: who looks next adds up what is left
            self._folder.read(but=file.path.name)
        return file

    async def close(self) -> None:
        """Publish for the last time, and leave the file to whoever comes next."""
        self.publish()
        with self._publishing:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def publish(self) -> None:
        """Show the other workers the figures of now. Call it every second or so; it takes about 1 us a series.

        Threads may call it: Starlette runs a plain function, such as the instrumentator's endpoint, in one of its own.
        """
        with self._publishing:
            self._look()
            self._store()

    def _store(self) -> None:
        if self._file is not None:
            try:
                self._file.publish(self._table)
            except OSError as error:  # no room for a series that is new: the others are published
                self._complain(error)

    def _own(self) -> list[Figures]:
        """Return the figures of this process, published before anybody sees them: they stay, should it be killed."""
        with self._publishing:
            self._look()
            mine = [Figures(one.family.name, one.family.kind, one.labels, tuple(values)) for one, values in self._table]
            self._store()  # what was counted since is more, never less
        return mine

    def _look(self) -> None:
        values = self._table.values
        for series, read in tuple(self._watched.items()):
            try:
                values[series.at] = read()
            except Exception:
                logger.exception("the figure %s%s cannot be read", series.family.name, series.labels)
        for name, times in tuple(self._table.refused.items()):
            values[self._table.bind(names.SERIES_REFUSED, (name,), (Kind.COUNTER,)).at] = times

    def _complain(self, error: BaseException) -> None:
        """Say, once a minute, what is missing."""
        now = self._clock.monotonic()
        if now - self._complained >= _STALE:
            self._complained = now
            logger.warning("the metrics of other workers are not shown: %s", str(error) or type(error).__name__)

    async def render(self, accept: str = "") -> tuple[str, bytes]:
        """Return content type and body of the whole service's figures, in the format that `accept` asks for.

        OpenMetrics has exemplars. Who asks while the same is being written shares it.
        """
        page = Page(accept)
        task = self._renders.get(page.content_type)
        if task is None:
            task = self._renders[page.content_type] = asyncio.get_running_loop().create_task(self._write(page))
            task.add_done_callback(lambda _: self._renders.pop(page.content_type, None))
        return await asyncio.shield(task)

    async def _write(self, page: Page) -> tuple[str, bytes]:
        totals, live = await self._others()
        for metric in self._metrics(totals, live, self._own()):
            for _ in page.add(metric):
                await asyncio.sleep(0)
        self._collecting = True
        try:
            own = list(self.registry.collect())
        finally:
            self._collecting = False
        for metric in own:
            for _ in page.add(metric):
                await asyncio.sleep(0)
        return page.content_type, page.body

    async def _others(self) -> tuple[list[Figures], list[Figures]]:
        if self._folder is None or self._file is None:
            return [], []
        name = self._file.path.name
        folder = self._folder
        try:
            found: tuple[list[Figures], list[Figures]] = await self._run(lambda: folder.read(but=name))
        except (OSError, AstraError) as error:
            return self._without(error)
        self._last, self._read = found, self._clock.monotonic()
        return found

    def _without(self, error: BaseException) -> tuple[list[Figures], list[Figures]]:
        self._complain(error)
        return self._last if self._clock.monotonic() - self._read < _STALE else ([], [])

    def _metrics(self, totals: Sequence[Figures], live: Sequence[Figures], mine: Sequence[Figures]) -> Iterator[Metric]:
        sums = Sums(max_series=self._max)
        gauges: dict[str, list[tuple[tuple[str, ...], float]]] = {}
        for figures in (*totals, *live, *mine):
            if figures.kind in (Kind.GAUGE, Kind.INFO):
                gauges.setdefault(figures.family, []).append((figures.labels, figures.values[0]))
            else:
                sums.add(figures)
        for family in self.families:
            if family.kind in (Kind.GAUGE, Kind.INFO):
                yield metric_of(family, _across(family, gauges.get(family.name, ())))
            elif family not in _DERIVED:
                yield metric_of(family, sorted(sums.found.get((family.name, family.kind), {}).items()))
        yield from derived(sums.found.get((HTTP.name, HTTP.kind), {}), self.exemplars)

    def collect_now(self) -> list[Metric]:
        """Return every metric of the service, read on the spot: for what collects without a loop."""
        if self._collecting:
            return []
        totals: list[Figures] = []
        live: list[Figures] = []
        if self._folder is not None and self._file is not None:
            try:
                totals, live = self._folder.read(but=self._file.path.name)
            except OSError as error:
                totals, live = self._without(error)
        return list(self._metrics(totals, live, self._own()))

    def __repr__(self) -> str:
        where = self._file or "this process alone"
        return f"<Metrics series={len(self._table)} {where}>"


_DERIVED = frozenset(
    {
        names.HTTP_REQUESTS,
        names.HTTP_DURATION,
        names.HTTP_DURATION_HIGHR,
        names.HTTP_REQUEST_SIZE,
        names.HTTP_RESPONSE_SIZE,
    }
)


def _across(
    family: Family, found: Iterable[tuple[tuple[str, ...], float]]
) -> list[tuple[tuple[str, ...], Sequence[float]]]:
    """Make one figure of those of several workers."""
    together: dict[tuple[str, ...], float] = {}
    for labels, value in found:
        if family.kind is Kind.INFO and not value:
            continue
        if labels not in together:
            together[labels] = value
        elif family.across is Across.SUM and family.kind is not Kind.INFO:
            together[labels] += value
        else:
            together[labels] = (min if family.across is Across.MIN else max)(together[labels], value)
    return [(labels, (value,)) for labels, value in sorted(together.items())]


class _Ours(Collector):
    """The figures of the service, for whoever collects the registry: prometheus_client's own expositions."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._metrics.collect_now()
