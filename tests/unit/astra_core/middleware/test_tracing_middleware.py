"""Requests as spans: which, under which name, with what in them, and what is handed on where there is none."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from astra_core.asgi import ROUTE, TRACE, ClientLeft
from astra_core.middleware import TraceScopeMiddleware, TracingMiddleware
from astra_core.telemetry import TraceContextPropagator, TraceSampler, Tracing
from astra_core.testing import FakeClock
from tests.unit.astra_core.asgi.driver import call, http_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.sdk.trace import ReadableSpan
    from starlette.requests import Request
    from starlette.responses import Response

    from astra_core.asgi import ASGIApp, Receive, Scope, Send

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


class Traced:
    """A tracing that keeps its spans."""

    def __init__(self, *, ratio: float, per_second: float = 1e9) -> None:
        self.memory = InMemorySpanExporter()
        self.sampler = TraceSampler(ratio=ratio, per_second=per_second, clock=FakeClock())
        self.tracing = Tracing(
            endpoint="http://127.0.0.1:9", sampler=self.sampler, queue=10_000, exporter=lambda: self.memory
        )

    async def spans(self) -> tuple[ReadableSpan, ...]:
        """Return the spans so far."""
        assert await asyncio.to_thread(self.tracing.queue.force_flush, 10_000)
        return self.memory.get_finished_spans()


@asynccontextmanager
async def traced(*, ratio: float = 1.0, per_second: float = 1e9) -> AsyncIterator[Traced]:
    """Run one."""
    one = Traced(ratio=ratio, per_second=per_second)
    await one.tracing.open()
    yield one
    await one.tracing.close()


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200 as the route `/things/{id}`, or as the path says."""
    scope[ROUTE] = "/things/{id}"
    status = int(scope["path"][1:]) if scope["path"][1:].isdigit() else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise."""
    raise ValueError("hunter2")


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return its attributes."""
    return dict(span.attributes or {})


async def test_a_span_has_the_stable_names_and_no_query() -> None:
    """Of the request, the route and the answer; its name is the template's, never the path."""
    async with traced() as one:
        app = TracingMiddleware(answers, tracing=one.tracing)
        headers = [(b"host", b"exa.mp:8080"), (b"user-agent", b"browser/1")]
        await call(app, http_scope("/abc", query=b"token=hunter2", headers=headers))
        (span,) = await one.spans()
    assert span.name == "GET /things/{id}"
    assert span.kind is trace.SpanKind.SERVER
    found = attributes(span)
    expected = {
        "http.request.method": "GET",
        "url.path": "/abc",
        "url.scheme": "http",
        "http.route": "/things/{id}",
        "http.response.status_code": 200,
        "user_agent.original": "browser/1",
    }
    assert expected.items() <= found.items()
    assert not {name for name in found if name.startswith(("http.url", "http.target", "http.method", "url.query"))}
    assert "hunter2" not in span.to_json()


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=4, max_size=40).filter(lambda query: query not in b"0af7651916cd43dd8448eb211c80319c"))
async def test_no_part_of_a_query_is_recorded(query: bytes) -> None:
    """Whatever bytes it holds, and they break nothing."""
    async with traced() as one:
        app = TracingMiddleware(answers, tracing=one.tracing)
        marked = b"q=" + query.hex().encode() + b"&" + query
        await call(app, http_scope("/abc", query=marked))
        (span,) = await one.spans()
    assert query.hex() not in span.to_json()


async def test_a_method_that_nobody_knows_does_not_name_the_span() -> None:
    """As the conventions ask: `HTTP` in the name, `_OTHER` in the attribute."""
    async with traced() as one:
        app = TracingMiddleware(answers, tracing=one.tracing)
        await call(app, http_scope("/abc", method="BREW"))
        (span,) = await one.spans()
    assert span.name == "HTTP /things/{id}"
    assert attributes(span)["http.request.method"] == "_OTHER"
    assert attributes(span)["http.request.method_original"] == "BREW"


async def test_a_request_that_nobody_routed_has_the_method_for_its_name() -> None:
    """A stranger's paths make no names."""
    async with traced() as one:
        app = TracingMiddleware(Starlette(routes=[]), tracing=one.tracing)
        await call(app, http_scope("/abc"))
        (span,) = await one.spans()
    assert span.name == "GET"
    assert "http.route" not in attributes(span)


@pytest.mark.parametrize(
    ("flags", "ratio", "expected"),
    [(b"01", 0.0, True), (b"00", 1.0, False), (b"03", 0.0, True), (b"02", 1.0, False)],
)
async def test_the_caller_decides(flags: bytes, ratio: float, expected: bool) -> None:
    """Whatever our share is; the span is a child of his."""
    async with traced(ratio=ratio) as one:
        app = TracingMiddleware(answers, tracing=one.tracing)
        await call(app, http_scope("/abc", headers=[(b"traceparent", PARENT + flags)]))
        spans = await one.spans()
    assert len(spans) == expected
    for span in spans:
        assert span.parent is not None
        assert span.parent.span_id == 0xB7AD6B7169203331
        assert span.context is not None
        assert span.context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C


async def test_a_caller_that_is_not_accepted_decides_nothing() -> None:
    """His header is as if it were not there."""
    async with traced(ratio=1.0) as one:
        app = TracingMiddleware(answers, tracing=one.tracing, accept=lambda scope: False)
        await call(app, http_scope("/abc", headers=[(b"traceparent", PARENT + b"00")]))
        (span,) = await one.spans()
    assert span.parent is None


async def test_callers_cannot_make_more_spans_than_the_bound() -> None:
    """A stranger who samples all of his requests costs no more than `per_second`."""
    async with traced(ratio=0.0, per_second=5) as one:
        app = TracingMiddleware(answers, tracing=one.tracing)
        for _ in range(50):
            await call(app, http_scope("/abc", headers=[(b"traceparent", PARENT + b"01")]))
        assert len(await one.spans()) == 5
    assert one.sampler.limited == 45


@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_a_request_that_failed_leaves_a_span_in_any_case(ratio: float) -> None:
    """One that raised, with the class of the error and not its words; one that was answered with 5xx; no 4xx."""
    clock = FakeClock()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        clock.advance(2.0)
        await answers(scope, receive, send)

    async with traced(ratio=ratio) as one:
        with pytest.raises(ValueError, match="hunter2"):
            await call(TracingMiddleware(fails, tracing=one.tracing), http_scope("/abc"))
        await call(TracingMiddleware(slow, tracing=one.tracing, clock=clock), http_scope("/503"))
        if ratio == 0.0:
            await call(TracingMiddleware(answers, tracing=one.tracing), http_scope("/404"))
        raised, answered = await one.spans()
    assert attributes(raised)["error.type"] == "ValueError"
    assert attributes(answered)["error.type"] == "503"
    for span in (raised, answered):
        assert span.status.status_code is trace.StatusCode.ERROR
        assert "hunter2" not in span.to_json()
    if ratio == 0.0:
        assert answered.start_time is not None
        assert answered.end_time is not None
        assert (answered.end_time - answered.start_time) / 1e9 >= 2.0  # it began when the request did


async def test_requests_at_once_share_nothing() -> None:
    """Each of fifty has its own trace in its context and in its scope, and leaves nothing behind."""
    seen: list[tuple[int, bytes]] = []
    gate = asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        seen.append((trace.get_current_span().get_span_context().trace_id, scope[TRACE]))
        await answers(scope, receive, send)

    async with traced() as one:
        app = TracingMiddleware(waits, tracing=one.tracing)
        tasks = [asyncio.ensure_future(call(app, http_scope(f"/{number}x"))) for number in range(50)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*tasks)
        assert len(await one.spans()) == 50
    assert len(set(seen)) == 50
    assert all(trace_id.to_bytes(16) == compact[:16] for trace_id, compact in seen)
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("told", [None, b"00", b"03"])
async def test_what_is_not_sampled_is_handed_on_as_such(told: bytes | None) -> None:
    """With the caller's trace where there is one; what is called hears that it need not trace."""
    sent: dict[str, str] = {}

    async def calls(scope: Scope, receive: Receive, send: Send) -> None:
        TraceContextPropagator().inject(sent)
        await answers(scope, receive, send)

    headers = [] if told is None else [(b"traceparent", PARENT + told), (b"tracestate", b"a=1")]
    async with traced(ratio=0.0) as one:
        app = TracingMiddleware(TraceScopeMiddleware(calls), tracing=one.tracing)
        await call(app, http_scope("/abc", headers=headers))
        spans = await one.spans()
    version, trace_id, span_id, flags = sent["traceparent"].split("-")
    sampled = told == b"03"
    assert len(spans) == sampled
    assert (version, int(flags, 16) & 1) == ("00", sampled)
    assert span_id != PARENT.split(b"-")[2].decode()
    if told is not None:
        assert trace_id == PARENT.split(b"-")[1].decode()
        assert sent["tracestate"] == "a=1"
    assert not trace.get_current_span().get_span_context().is_valid


async def test_it_stands_round_any_application() -> None:
    """A Starlette application's own route names the span."""

    async def hello(request: Request) -> Response:
        return PlainTextResponse("hello")

    app: ASGIApp = Starlette(routes=[Route("/hello/{name}", hello)])
    async with traced() as one:
        await call(TracingMiddleware(app, tracing=one.tracing), http_scope("/hello/a"))
        (span,) = await one.spans()
    assert span.name == "GET /hello/{name}"


@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_a_request_that_nobody_waited_for_is_no_error(ratio: float) -> None:
    """Its span says nothing of one, and one that was not sampled leaves none."""

    async def cancelled(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientLeft

    async with traced(ratio=ratio) as one:
        await call(TracingMiddleware(cancelled, tracing=one.tracing), http_scope("/"))
        spans = await one.spans()
    assert len(spans) == ratio
    assert all(span.status.is_ok and "error.type" not in attributes(span) for span in spans)
