"""What a service tells of itself: metrics, traces and logs, as listeners of events."""

from astra_core.telemetry import names
from astra_core.telemetry.family import Across, Family, Kind
from astra_core.telemetry.log_context import REQUEST, RequestOf, log_context
from astra_core.telemetry.logs import Logs
from astra_core.telemetry.loop_lag import watch_loop
from astra_core.telemetry.metrics import Metrics
from astra_core.telemetry.metrics_listener import MetricsListener
from astra_core.telemetry.names import LIBRARY
from astra_core.telemetry.redaction import Redactor
from astra_core.telemetry.sampler import TraceSampler
from astra_core.telemetry.trace_context import TraceContextPropagator
from astra_core.telemetry.tracing import SpanListener, Tracing
from astra_core.telemetry.watched import (
    watch_breaker,
    watch_budget,
    watch_leadership,
    watch_limiter,
    watch_pool,
    watch_process,
    watch_relay,
    watch_slots,
)

__all__ = [
    "LIBRARY",
    "REQUEST",
    "Across",
    "Family",
    "Kind",
    "Logs",
    "Metrics",
    "MetricsListener",
    "Redactor",
    "RequestOf",
    "SpanListener",
    "TraceContextPropagator",
    "TraceSampler",
    "Tracing",
    "log_context",
    "names",
    "watch_breaker",
    "watch_budget",
    "watch_leadership",
    "watch_limiter",
    "watch_loop",
    "watch_pool",
    "watch_process",
    "watch_relay",
    "watch_slots",
]
