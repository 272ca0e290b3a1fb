"""A service that calls whom it is told to, handing on the trace that it stands in: what the W3C's suite tests with."""

from __future__ import annotations

import httpx
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.requests import Request  # noqa: TC002 - Starlette looks at it
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from astra_core.clock import SystemClock
from astra_core.middleware import TraceScopeMiddleware, TracingMiddleware
from astra_core.telemetry import TraceContextPropagator, TraceSampler, Tracing

__all__ = ["app"]


async def called(request: Request) -> Response:
    """Call each `url` with its `arguments`."""
    async with httpx.AsyncClient(trust_env=False) as http:
        for action in await request.json():
            headers: dict[str, str] = {}
            with _tracing.tracer.start_as_current_span("POST", kind=SpanKind.CLIENT):
                TraceContextPropagator().inject(headers)
                await http.post(action["url"], json=action["arguments"], headers=headers)
    return JSONResponse([])


_tracing = Tracing(
    endpoint="http://127.0.0.1:9",
    sampler=TraceSampler(ratio=0.5, per_second=1e9, clock=SystemClock()),
    exporter=InMemorySpanExporter,
)
app = TracingMiddleware(
    TraceScopeMiddleware(Starlette(routes=[Route("/test", called, methods=["POST"])])), tracing=_tracing
)
