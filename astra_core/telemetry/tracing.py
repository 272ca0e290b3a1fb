"""Tracing as one object of the composition root: sampler, tracer and export, nothing global, no variables read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from astra_core.events import StoreCalled
from astra_core.telemetry.light_span import LightSpan
from astra_core.telemetry.span_queue import SpanQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span
    from opentelemetry.util.types import Attributes

    from astra_core.telemetry.sampler import TraceSampler

__all__ = ["CURRENT", "SpanListener", "Tracing", "compact", "exporter_for"]

CURRENT: Final[ContextVar[Any]] = ContextVar("astra_sampled_span", default=None)
"""The span that what happens here belongs to, where its trace is sampled: cheaper to ask than OpenTelemetry's own."""
_FLUSH: Final = 0.5
_IDS: Final = RandomIdGenerator()
_SCOPE: Final = InstrumentationScope("astra")
_ROOT: Final = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)
_FINE: Final = Status(StatusCode.UNSET)
_FAILED: Final = Status(StatusCode.ERROR)
_SILENT: Final = ("opentelemetry.exporter.otlp.proto.http", "opentelemetry.exporter.otlp.proto.grpc")
_LIMITS: Final = {
    "max_attributes": 64,
    "max_span_attributes": 64,
    "max_events": 32,
    "max_links": 128,
    "max_event_attributes": 16,
    "max_link_attributes": 16,
    "max_attribute_length": 1_024,
    "max_span_attribute_length": 1_024,
}


class Tracing:
    """Makes spans and has them exported.

    `endpoint` names the collector and its protocol: `http://host:4318` and `https://…` for OTLP over HTTP, `grpc://`
    and `grpcs://` for OTLP over gRPC. `headers` are `name=value,name=value`; `ca_file` holds the certificates (PEM)
    that the collector's is checked against, those of the public authorities if None. At most `queue` spans wait; an
    export has `timeout` seconds. Nothing waits for the collector: with it away spans are dropped and counted.
    `exporter` replaces the one that the endpoint names.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        sampler: TraceSampler,
        service: str = "astra",
        version: str = "",
        headers: str | None = None,
        ca_file: str | None = None,
        queue: int = 4_096,
        timeout: float = 5.0,
        exporter: Callable[[], SpanExporter] | None = None,
    ) -> None:
        self.sampler = sampler
        self.queue = SpanQueue(
            bound=queue,
            export=exporter or (lambda: exporter_for(endpoint, headers=headers, timeout=timeout, ca_file=ca_file)),
            read=self._readable,
        )
        attributes = {"service.name": service, "service.version": version, "service.instance.id": secrets.token_hex(8)}
        self.provider = TracerProvider(
            sampler=ParentBased(root=ALWAYS_ON),  # of spans that others make: they follow ours
            resource=Resource(attributes),
            shutdown_on_exit=False,
            id_generator=RandomIdGenerator(),
            span_limits=SpanLimits(**_LIMITS),
        )
        self.provider.add_span_processor(self.queue)
        self.tracer = self.provider.get_tracer("astra", version or None)
        self._filtered: list[logging.Logger] = []

    async def open(self) -> None:
        """Begin to export, in this process."""
        for name in _SILENT:  # they complain of every try; the queue complains once a minute
            logger = logging.getLogger(name)
            logger.addFilter(_nothing)
            self._filtered.append(logger)
            for below in ("trace_exporter", "exporter"):
                child = logging.getLogger(f"{name}.{below}")
                child.addFilter(_nothing)
                self._filtered.append(child)
        self.queue.start()

    async def close(self) -> None:
        """Export what waits, for at most half a second."""
        await asyncio.to_thread(self.queue.stop, _FLUSH)
        for logger in self._filtered:
            logger.removeFilter(_nothing)
        self._filtered.clear()

    def start(
        self,
        name: str,
        *,
        kind: SpanKind,
        parent: SpanContext | None = None,
        attributes: Attributes = None,
        described: Callable[[], Mapping[str, Any]] | None = None,
        links: Sequence[Link] = (),
        start_time: int | None = None,
    ) -> LightSpan:
        """Begin a span that will be exported, whatever its parent says: the decision was made before.

        `described` gives attributes that nobody needs before it is exported.
        """
        span_id = _IDS.generate_span_id()
        if parent is None:
            context = SpanContext(_IDS.generate_trace_id(), span_id, False, _ROOT)
        else:
            flags = TraceFlags(parent.trace_flags | TraceFlags.SAMPLED)
            context = SpanContext(parent.trace_id, span_id, False, flags, parent.trace_state)
        return LightSpan(
            name,
            context,
            kind=kind,
            parent=parent,
            ended=self.queue.on_end,
            attributes=attributes,
            described=described,
            links=links,
            start_time=start_time,
        )

    def _readable(self, span: ReadableSpan | LightSpan) -> ReadableSpan:
        return span.readable(self.provider.resource, _SCOPE) if isinstance(span, LightSpan) else span

    @contextlib.contextmanager
    def current(self, span: Span) -> Iterator[Span]:
        """Make `span` the one that everything inside belongs to, and end it."""
        token = context_api.attach(trace.set_span_in_context(span))
        mine = CURRENT.set(span)
        try:
            yield span
        except BaseException as error:
            span.set_status(trace.StatusCode.ERROR)
            span.set_attribute("error.type", type(error).__qualname__)
            raise
        finally:
            CURRENT.reset(mine)
            context_api.detach(token)
            span.end()

    def linked(self, name: str, traces: Sequence[bytes]) -> contextlib.AbstractContextManager[Span]:
        """Return a span, to be entered, that is linked to others by their trace id and span id, 24 bytes each."""
        flags = TraceFlags(TraceFlags.SAMPLED)
        links = [
            Link(SpanContext(int.from_bytes(each[:16]), int.from_bytes(each[16:]), True, flags))
            for each in traces
            if len(each) == 24
        ]
        return self.current(self.start(name, kind=SpanKind.CONSUMER, links=links))

    def __repr__(self) -> str:
        return f"<Tracing {self.sampler!r} {self.queue!r}>"


class SpanListener:
    """Turns `StoreCalled` into client spans, with the stable names of OpenTelemetry's database conventions."""

    kinds = frozenset({StoreCalled})

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def __call__(self, event: object, /) -> None:
        """Add a span to the trace that is being made here, if any."""
        if type(event) is not StoreCalled or (parent := CURRENT.get()) is None:
            return
        tracing, end = self._tracing, time.time_ns()
        attributes: dict[str, str] = {"db.system.name": event.store, "db.operation.name": event.operation}
        if event.collection:
            attributes["db.collection.name"] = event.collection
        if event.error:
            attributes["error.type"] = event.error
        # It is over already, so nothing need be kept of it while it lasts: a fifth of what a living span costs.
        told: SpanContext = parent.get_span_context()
        span = ReadableSpan(
            f"{event.operation} {event.collection}".rstrip(),
            SpanContext(told.trace_id, _IDS.generate_span_id(), False, told.trace_flags, told.trace_state),
            told,
            tracing.provider.resource,
            attributes,
            kind=SpanKind.CLIENT,
            status=_FAILED if event.error else _FINE,
            start_time=end - int(event.seconds * 1e9),
            end_time=end,
            instrumentation_scope=_SCOPE,
        )
        tracing.queue.on_end(span)


def compact(context: SpanContext) -> bytes:
    """Return the trace id and the span id as 24 bytes."""
    return context.trace_id.to_bytes(16) + context.span_id.to_bytes(8)


def exporter_for(endpoint: str, *, headers: str | None, timeout: float, ca_file: str | None = None) -> SpanExporter:
    """Return the exporter that `endpoint` names. Imports it: the two bring much with them."""
    parts = urlsplit(endpoint)
    pairs = _pairs(headers)
    if parts.scheme in ("grpc", "grpcs"):
        return _grpc(parts.netloc, secure=parts.scheme == "grpcs", headers=pairs, timeout=timeout, ca_file=ca_file)
    import requests
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    session = requests.Session()
    session.trust_env = False  # neither proxies nor passwords that stand in variables and files of the machine
    path = parts.path.rstrip("/")
    url = f"{parts.scheme}://{parts.netloc}{path if path.endswith('/v1/traces') else path + '/v1/traces'}"
    return OTLPSpanExporter(
        endpoint=url,
        certificate_file=ca_file or DEFAULT_CA_BUNDLE_PATH,  # or a variable of the machine would count
        headers=dict(pairs),
        timeout=timeout,
        compression=Compression.NoCompression,
        session=session,
    )


def _grpc(
    target: str, *, secure: bool, headers: Mapping[str, str], timeout: float, ca_file: str | None
) -> SpanExporter:
    import grpc  # type: ignore[import-untyped]
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    roots = Path(ca_file).read_bytes() if secure and ca_file else None
    return OTLPSpanExporter(
        endpoint=target,
        insecure=not secure,
        credentials=grpc.ssl_channel_credentials(roots) if secure else None,
        headers=tuple((name.lower(), value) for name, value in headers.items()),
        timeout=timeout,
        compression=grpc.Compression.NoCompression,
    )


def _pairs(headers: str | None) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in (headers or "").split(",") if pair)}


def _nothing(record: logging.LogRecord) -> bool:
    return False
