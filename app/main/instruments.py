"""Which figures of the application's objects are shown as metrics, under the names of the two tables."""

from __future__ import annotations

import platform
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from app.imports import ImportState
from app.main import families
from astra_core import __version__
from astra_core.telemetry import (
    names,
    watch_breaker,
    watch_budget,
    watch_leadership,
    watch_limiter,
    watch_pool,
    watch_process,
    watch_relay,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from app.clicks import ClickCounter, Journal
    from app.codes import CodeFactory
    from app.edge import Drain
    from app.links import Follower, Resolver
    from app.main.embedding import EmbeddedWorker
    from app.main.leading import Leader
    from app.service import Importer, ImportManager, LinkCreator
    from astra_core.config import Reloader
    from astra_core.keyed import BlockingPool
    from astra_core.resilience import CircuitBreaker, Limiter, RetryBudget
    from astra_core.telemetry import Logs, Metrics, Tracing

__all__ = ["Instruments"]


class Instruments:
    """Registers what to look at; nothing is called on the way of a request."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def process(self) -> None:
        """What runs, and the process that it runs in."""
        self._metrics.info(names.BUILD, __version__, platform.python_version(), platform.python_implementation())
        watch_process(self._metrics)

    def config(self, version: int, checksum: str, environment: str) -> None:
        """Which settings are in force."""
        self._metrics.info(names.CONFIG, str(version), checksum, environment)

    def settings(self, reloader: Reloader[Any]) -> None:
        """What became of settings that were read again."""
        watch = self._metrics.watch
        watch(names.CONFIG_RELOADS, lambda: reloader.applied, "applied")
        watch(names.CONFIG_RELOADS, lambda: reloader.refused, "refused")
        watch(names.CONFIG_RELOADS, lambda: reloader.unchanged, "unchanged")
        watch(names.CONFIG_SUCCESS, lambda: reloader.last_success)
        watch(names.CONFIG_REFUSED, lambda: bool(reloader.problems))
        watch(names.CONFIG_PENDING, lambda: len(reloader.pending))

    def pools(self, pools: Iterable[BlockingPool]) -> None:
        """Pools of threads."""
        for pool in pools:
            watch_pool(self._metrics, pool)

    def breaker(self, breaker: CircuitBreaker) -> None:
        """A breaker, from when it was made."""
        watch_breaker(self._metrics, breaker)

    def budget(self, name: str, budget: RetryBudget) -> None:
        """The budget of the retries called `name`."""
        watch_budget(self._metrics, name, budget)

    def limiter(self, limiter: Limiter) -> None:
        """A limiter."""
        watch_limiter(self._metrics, limiter)

    def deadlines(self, name: str) -> None:
        """Deadlines called `name`: no figure to look at, but none may be absent until the first one expires."""
        for whose in ("own", "caller"):
            self._metrics.counter(names.DEADLINE_EXCEEDED, name, whose)

    def links(self, resolver: Resolver, follower: Follower, codes: CodeFactory, creator: LinkCreator) -> None:
        """The links in memory, how fresh they are, and the making of new ones."""
        watch = self._metrics.watch
        watch(families.LINKS_CREATED, lambda: creator.created)
        watch(families.LINKS_REUSED, lambda: creator.reused)
        watch(families.CODES_LEFT, lambda: codes.left)
        watch(families.CACHE_HITS, lambda: resolver.hits)
        watch(families.CACHE_MISSES, lambda: resolver.misses)
        watch(families.CACHE_STALE, lambda: resolver.stale)
        watch(families.CACHE_UNKNOWN, lambda: resolver.unknown)
        watch(families.CACHE_EVICTIONS, lambda: resolver.entries.evictions)
        watch(families.CACHE_ENTRIES, lambda: len(resolver.entries), "positive")
        watch(families.CACHE_ENTRIES, lambda: len(resolver.unknowns), "negative")
        watch(families.CACHE_CAPACITY, lambda: resolver.entries.capacity, "positive")
        watch(families.CACHE_CAPACITY, lambda: resolver.unknowns.capacity, "negative")
        watch(families.FLIGHT_JOINS, lambda: resolver.joins)
        watch(families.CHANGES_AGE, lambda: follower.age)
        watch(families.CHANGES_GAPS, lambda: follower.gaps)

    def clicks(self, journal: Journal, counter: ClickCounter) -> None:
        """The journal, and what was counted of it."""
        watch = self._metrics.watch
        watch(families.CLICKS_RECORDED, lambda: journal.recorded)
        watch(families.CLICKS_COUNTED, lambda: counter.counted)
        watch(families.CLICKS_DROPPED, lambda: journal.dropped)
        watch(families.CLICKS_LOST, lambda: journal.lost)
        watch(families.CLICKS_FAILURES, lambda: counter.failures)
        watch(families.JOURNAL_BYTES, lambda: journal.bytes)
        watch(families.JOURNAL_QUOTA, lambda: journal.quota)
        watch(families.JOURNAL_AGE, lambda: journal.age)
        watch(families.JOURNAL_SYNC_FAILED, lambda: journal.sync_failed)

    def imports(self, imports: ImportManager, importer: Importer | None = None) -> None:
        """Imports, and their rows where this process has a part in them."""
        watch = self._metrics.watch
        self._metrics.histogram(families.IMPORT_HOLD)  # a worker's to fill
        watch(families.IMPORT_UPLOADS, lambda: imports.spool.receiving)
        for state in ImportState:
            watch(families.IMPORTS, partial(imports.moved.__getitem__, state), state.value)
        for outcome in ("created", "reused", "failed"):
            rows = Counter[str]() if importer is None else importer.rows
            watch(families.IMPORT_ROWS, partial(rows.__getitem__, outcome), outcome)

    def import_worker(self, worker: EmbeddedWorker) -> None:
        """The worker that this process starts when it has to."""
        self._metrics.watch(families.IMPORT_WORKERS, lambda: worker.starts)

    def leader(self, leader: Leader) -> None:
        """The lease of what is done once for all, and the way of messages."""
        watch_leadership(self._metrics, leader.leadership)
        if leader.relay is not None:
            watch_relay(self._metrics, leader.relay)

    def drain(self, drain: Drain) -> None:
        """The requests that shutdown cut off."""
        self._metrics.watch(families.REQUESTS_CANCELLED, lambda: drain.cancelled)

    def tracing(self, tracing: Tracing | None) -> None:
        """The way of the spans to their collector; nothing goes it while there is none."""
        queue = None if tracing is None else tracing.queue
        sampler = None if tracing is None else tracing.sampler
        self._metrics.watch(names.TRACED_REQUESTS, lambda: sampler.taken if sampler else 0, "taken")
        self._metrics.watch(names.TRACED_REQUESTS, lambda: sampler.limited if sampler else 0, "limited")
        self._metrics.watch(names.SPANS, lambda: queue.exported if queue else 0, "exported")
        self._metrics.watch(names.SPANS, lambda: queue.failed if queue else 0, "failed")
        self._metrics.watch(names.SPANS, lambda: queue.dropped if queue else 0, "dropped")
        self._metrics.watch(names.SPAN_QUEUE, lambda: queue.queued if queue else 0)

    def logs(self, logs: Logs) -> None:
        """The way of the log lines to their output."""
        for level in logs.lines:
            self._metrics.watch(names.LOG_LINES, _lines(logs, level), level)
        self._metrics.watch(names.LOG_DROPPED, lambda: logs.dropped)
        self._metrics.watch(names.LOG_QUEUE, lambda: logs.queued)


def _lines(logs: Logs, level: str) -> Callable[[], float]:
    return lambda: logs.lines[level]
