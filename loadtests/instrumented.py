"""What others put round a service: bare Starlette with both stock instrumentations, for comparison."""

from __future__ import annotations

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.applications import Starlette
from starlette.routing import Route

from loadtests.reference import redirect

__all__ = ["instrumented_redirect"]


class _Nowhere(SpanExporter):
    """Takes spans and forgets them: exporting is not what is measured."""

    def export(self, spans: object) -> SpanExportResult:
        """Take them."""
        return SpanExportResult.SUCCESS


def _instrumented() -> OpenTelemetryMiddleware:
    app = Starlette(routes=[Route("/{code}", redirect)])
    Instrumentator(registry=CollectorRegistry()).instrument(app)
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(_Nowhere()))
    return OpenTelemetryMiddleware(app, tracer_provider=provider, meter_provider=NoOpMeterProvider())


instrumented_redirect = _instrumented()
"""prometheus-fastapi-instrumentator and opentelemetry-instrumentation-asgi, every request traced with every span."""
