"""Spans, from their making to their export: to collectors that are there, away, slow, or refuse."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import threading
import time
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from astra_core.events import StoreCalled
from astra_core.telemetry import SpanListener, TraceSampler, Tracing
from astra_core.telemetry.tracing import compact
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan


def tracing(
    exporter: Callable[[], SpanExporter] | None = None,
    *,
    endpoint: str = "http://127.0.0.1:9",
    queue: int = 100,
    headers: str | None = None,
    ca_file: str | None = None,
) -> Tracing:
    """Return tracing that samples everything."""
    sampler = TraceSampler(ratio=1.0, per_second=1e9, clock=FakeClock())
    return Tracing(
        endpoint=endpoint,
        sampler=sampler,
        queue=queue,
        exporter=exporter,
        headers=headers,
        ca_file=ca_file,
        timeout=0.5,
        version="7",
    )


async def flushed(one: Tracing) -> None:
    """Wait until everything that waited was exported."""
    assert await asyncio.to_thread(one.queue.force_flush, 10_000)


async def test_a_span_is_exported_with_what_the_service_is() -> None:
    """Name, version, instance; and the span as it was made."""
    memory = InMemorySpanExporter()
    one = tracing(lambda: memory)
    await one.open()
    with one.current(one.start("work", kind=SpanKind.INTERNAL)):
        pass
    await flushed(one)
    await one.close()
    (span,) = memory.get_finished_spans()
    assert span.name == "work"
    assert span.resource.attributes["service.name"] == "astra"
    assert span.resource.attributes["service.version"] == "7"
    assert one.queue.exported == 1


async def test_variables_of_opentelemetry_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's environment says of endpoints, names, samplers and limits is not ours."""
    for name, value in {
        "OTEL_SERVICE_NAME": "another",
        "OTEL_RESOURCE_ATTRIBUTES": "a=b",
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "1",
        "OTEL_EXPORTER_OTLP_HEADERS": "a=b",
    }.items():
        monkeypatch.setenv(name, value)
    memory = InMemorySpanExporter()
    one = tracing(lambda: memory)
    await one.open()
    with one.current(one.start("work", kind=SpanKind.INTERNAL, attributes={"a": 1, "b": 2})):
        pass
    await one.close()
    (span,) = memory.get_finished_spans()
    assert dict(span.attributes or {}) == {"a": 1, "b": 2}
    assert span.resource.attributes["service.name"] == "astra"


async def test_nothing_is_global() -> None:
    """Another library's tracer knows nothing of ours."""
    one = tracing(InMemorySpanExporter)
    await one.open()
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    await one.close()


async def test_store_calls_become_client_spans_of_the_trace_at_hand() -> None:
    """With the database conventions, their time, and their error; where nothing is traced there is none."""
    memory = InMemorySpanExporter()
    one = tracing(lambda: memory)
    listener = SpanListener(one)
    await one.open()
    listener(StoreCalled("sqlite", "get", "links", 0.5, ""))
    with one.current(one.start("work", kind=SpanKind.SERVER)) as parent:
        listener(StoreCalled("sqlite", "get", "links", 0.5, ""))
        listener(StoreCalled("sqlite", "commit", "", 0.1, "StoreUnavailable"))
        listener("something else")
    await one.close()
    get, commit, work = memory.get_finished_spans()
    assert (get.name, commit.name, work.name) == ("get links", "commit", "work")
    assert get.kind is SpanKind.CLIENT
    assert get.parent is not None
    assert get.parent.span_id == parent.get_span_context().span_id
    assert dict(get.attributes or {}) == {
        "db.system.name": "sqlite",
        "db.operation.name": "get",
        "db.collection.name": "links",
    }
    assert get.end_time is not None
    assert get.start_time is not None
    assert abs(get.end_time - get.start_time - 500_000_000) < 1_000
    assert (commit.attributes or {})["error.type"] == "StoreUnavailable"
    assert commit.status.status_code is trace.StatusCode.ERROR


async def test_work_is_linked_to_the_traces_that_made_it() -> None:
    """By 24 bytes each; what is not 24 bytes is no trace."""
    memory = InMemorySpanExporter()
    one = tracing(lambda: memory)
    await one.open()
    made = one.start("made", kind=SpanKind.SERVER)
    with one.linked("count", [compact(made.get_span_context()), b"torn"]):
        pass
    await one.close()
    (count,) = memory.get_finished_spans()
    assert [link.context.span_id for link in count.links] == [made.get_span_context().span_id]


async def test_an_error_inside_is_the_spans() -> None:
    """Its class, never its words, and it is raised on."""
    memory = InMemorySpanExporter()
    one = tracing(lambda: memory)
    await one.open()
    with pytest.raises(ValueError, match="hunter2"), one.current(one.start("work", kind=SpanKind.INTERNAL)):
        raise ValueError("hunter2")
    await one.close()
    (span,) = memory.get_finished_spans()
    assert dict(span.attributes or {}) == {"error.type": "ValueError"}
    assert "hunter2" not in span.to_json()


class Hanging(SpanExporter):
    """A collector that answers when it is let."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait."""
        self.gate.wait(10)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing."""


async def test_a_full_queue_drops_and_counts_and_nobody_waits() -> None:
    """With a collector that hangs, spans beyond the bound are dropped; those that wait are exported later."""
    hanging = Hanging()
    one = tracing(lambda: hanging, queue=600)
    await one.open()
    for _ in range(3_000):
        one.start("work", kind=SpanKind.INTERNAL).end()
    assert one.queue.queued <= 600 + 512
    assert one.queue.dropped >= 3_000 - 600 - 512
    hanging.gate.set()
    await flushed(one)
    assert one.queue.exported + one.queue.dropped == 3_000
    await one.close()


async def test_closing_takes_half_a_second_at_most_whatever_the_collector_does() -> None:
    """What it could not export by then is counted as dropped."""
    hanging = Hanging()
    one = tracing(lambda: hanging)
    await one.open()
    one.start("first", kind=SpanKind.INTERNAL).end()
    one.queue._wake.set()
    async with asyncio.timeout(10):
        while not one.queue._busy:  # noqa: ASYNC110 - the thread is another's
            await asyncio.sleep(0.01)
    one.start("second", kind=SpanKind.INTERNAL).end()
    before = time.monotonic()
    await one.close()
    assert time.monotonic() - before < 5
    assert one.queue.dropped == 1
    hanging.gate.set()


async def test_a_collector_that_is_away_costs_spans_and_one_complaint(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing listens at its port: the spans are counted as failed, and no secret of ours is in what is logged."""
    one = tracing(endpoint="http://127.0.0.1:9", headers="authorization=Bearer hunter2")
    await one.open()
    for _ in range(3):
        one.start("work", kind=SpanKind.INTERNAL).end()
        await flushed(one)
    await one.close()
    assert one.queue.failed == 3
    assert [record.getMessage() for record in caplog.records] == ["the trace collector took no spans: 1 failed so far"]


@contextmanager
def http_collector(
    certificate: Path | None = None,
) -> Iterator[tuple[str, list[tuple[str, str | None, ExportTraceServiceRequest]]]]:
    """Run a collector of OTLP over HTTP; gives its endpoint, and what it gets. With a `certificate` it speaks TLS."""
    got: list[tuple[str, str | None, ExportTraceServiceRequest]] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Take spans."""
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
            got.append((self.path, self.headers.get("x-key"), request))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_port}", got
        server.shutdown()


@contextmanager
def grpc_collector(
    certificate: Path | None = None,
) -> Iterator[tuple[str, list[tuple[str, str | None, ExportTraceServiceRequest]]]]:
    """Run a collector of OTLP over gRPC."""
    got: list[tuple[str, str | None, ExportTraceServiceRequest]] = []

    class Taker(services.TraceServiceServicer):
        def Export(  # noqa: N802 - gRPC's name
            self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
        ) -> ExportTraceServiceResponse:
            """Take spans."""
            got.append(("/v1/traces", dict(context.invocation_metadata()).get("x-key"), request))
            return ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    services.add_TraceServiceServicer_to_server(Taker(), server)  # type: ignore[no-untyped-call]
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (certificate.with_suffix(".key").read_bytes(), certificate.read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    yield f"{'grpc' if certificate is None else 'grpcs'}://127.0.0.1:{port}", got
    server.stop(0)


@pytest.mark.parametrize("collector", [http_collector, grpc_collector])
async def test_spans_reach_a_real_collector(
    collector: Callable[[], Iterator[tuple[str, list[tuple[str, str | None, ExportTraceServiceRequest]]]]],
) -> None:
    """Over HTTP and over gRPC, with the headers that were given."""
    with collector() as (endpoint, got):  # type: ignore[attr-defined]
        one = tracing(endpoint=endpoint, headers="x-key=hunter2")
        await one.open()
        one.start("work", kind=SpanKind.INTERNAL).end()
        await flushed(one)
        await one.close()
    ((path, key, request),) = got
    assert (path, key) == ("/v1/traces", "hunter2")
    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert span.name == "work"
    assert one.queue.exported == 1


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate that nobody but its owner trusts; its key lies beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there to make a certificate")
    file = tmp_path / "collector.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    where = ["-out", str(file), "-keyout", str(file.with_suffix(".key"))]
    subprocess.run([*command.split(), *names, *where], check=True, capture_output=True)
    return file


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("collector", [http_collector, grpc_collector])
async def test_a_collector_is_known_by_its_certificate(
    collector: Callable[[Path], Any], certificate: Path, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS spans go to the one that the authority named vouches for, whatever the machine's variables trust."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificate))
    with collector(certificate) as (endpoint, got):
        one = tracing(endpoint=endpoint, ca_file=str(certificate) if trusted else None)
        await one.open()
        one.start("work", kind=SpanKind.INTERNAL).end()
        await flushed(one)
        await one.close()
    assert (one.queue.exported, one.queue.failed) == ((1, 0) if trusted else (0, 1))
    assert len(got) == one.queue.exported
