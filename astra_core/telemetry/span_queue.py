"""Spans on their way to the collector: a bounded queue, one thread that exports, and counts of what became of them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExportResult

from astra_core.telemetry.light_span import LightSpan

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["SpanQueue"]

logger = logging.getLogger(__name__)

_BATCH: Final = 64
"""Spans of one export: some 4 ms of computing, in which the loop gets the interpreter by turns."""
_PAUSE: Final = 0.01
"""Seconds between two exports, in which the loop has the interpreter for itself."""
_WAKE: Final = 512
_INTERVAL: Final = 5.0
"""Seconds after which few spans are exported too: OpenTelemetry's own. Each export disturbs the loop a little."""
_COMPLAINT: Final = 60.0
"""Seconds between two complaints about a collector that is away."""


def _as_it_is(span: ReadableSpan | LightSpan) -> ReadableSpan:
    assert not isinstance(span, LightSpan)  # noqa: S101 - who hands those over says how they are read
    return span


class SpanQueue(SpanProcessor):
    """Takes at most `bound` spans that wait; one more is dropped.

    `export` builds the exporter, in the thread itself, and `read` makes there of each span what exporters read.

    Counts for metrics: spans `exported`, `failed` (the collector did not take them) and `dropped`.
    """

    def __init__(
        self,
        *,
        bound: int,
        export: Callable[[], SpanExporter],
        read: Callable[[ReadableSpan | LightSpan], ReadableSpan] = _as_it_is,
    ) -> None:
        self.exported = 0
        self.failed = 0
        self.dropped = 0
        self.bound = bound
        self._export = export
        self._read = read
        self._waiting: deque[ReadableSpan | LightSpan] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._stop = threading.Event()
        self._busy = 0
        self._complained = float("-inf")
        self._thread: threading.Thread | None = None

    @property
    def queued(self) -> int:
        """Spans that wait, those that are being exported included."""
        return len(self._waiting) + self._busy

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: spans count when they end."""

    def on_end(self, span: ReadableSpan | LightSpan) -> None:
        """Take a span that ended; never waits."""
        if len(self._waiting) >= self.bound:
            self.dropped += 1
            return
        self._waiting.append(span)
        if len(self._waiting) == _WAKE:
            self._wake.set()

    def start(self) -> None:
        """Begin to export."""
        self._thread = threading.Thread(target=self._work, name="spans", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Export what waits, for at most `timeout` seconds; what is left then is dropped. Blocks."""
        self._stopping = True
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
        self.dropped += len(self._waiting)
        self._waiting.clear()

    def shutdown(self) -> None:
        """See `stop`."""
        self.stop(0.0)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until nothing waits. Blocks; for tests and tools."""
        self._wake.set()
        end = time.monotonic() + timeout_millis / 1000
        while self.queued and time.monotonic() < end:
            time.sleep(0.005)
            self._wake.set()
        return not self.queued

    def _work(self) -> None:
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # what exporters do is no work of the service
        try:
            exporter = self._export()
            while not self._stopping:
                self._wake.wait(_INTERVAL)
                self._wake.clear()
                self._drain(exporter)
            while self._waiting:
                self._drain(exporter)
            exporter.shutdown()
        except Exception:
            logger.exception("spans are not exported any more")
        finally:
            detach(token)

    def _drain(self, exporter: SpanExporter) -> None:
        """Export what waits now; what comes meanwhile waits for the next time, or each export would be of few spans."""
        left = len(self._waiting)
        while left:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, left))]
            left -= len(batch)
            self._busy = len(batch)
            try:
                taken = exporter.export([self._read(span) for span in batch]) is SpanExportResult.SUCCESS
            except Exception as error:
                taken = False
                logger.debug("exporting %d spans failed with %s", len(batch), type(error).__name__)
            self._busy = 0
            if taken:
                self.exported += len(batch)
                self._stop.wait(_PAUSE)
                continue
            self.failed += len(batch)
            if time.monotonic() - self._complained >= _COMPLAINT:
                self._complained = time.monotonic()
                logger.warning("the trace collector took no spans: %d failed so far", self.failed)

    def __repr__(self) -> str:
        return f"<SpanQueue queued={self.queued} exported={self.exported} failed={self.failed} dropped={self.dropped}>"
