"""Middleware for any ASGI application, the HTTP face of one policy each; directly stacked ones fuse into one."""

from astra_core.middleware.access_log import AccessLogMiddleware, LogContextMiddleware
from astra_core.middleware.breaker import BreakerMiddleware, client_left, server_error
from astra_core.middleware.deadline import DeadlineMiddleware
from astra_core.middleware.disconnect import DisconnectMiddleware
from astra_core.middleware.held_answer import RetryableAnswer
from astra_core.middleware.limiter import LimiterMiddleware, connection
from astra_core.middleware.metrics import MetricsEndpoint, MetricsMiddleware
from astra_core.middleware.refusals import is_refusal, mark_refused
from astra_core.middleware.request_id import RequestIdMiddleware
from astra_core.middleware.retry import RetryMiddleware
from astra_core.middleware.route_keys import RouteKeys
from astra_core.middleware.send_timeout import SendTimeoutMiddleware
from astra_core.middleware.tracing import TraceScopeMiddleware, TracingMiddleware

__all__ = [
    "AccessLogMiddleware",
    "BreakerMiddleware",
    "DeadlineMiddleware",
    "DisconnectMiddleware",
    "LimiterMiddleware",
    "LogContextMiddleware",
    "MetricsEndpoint",
    "MetricsMiddleware",
    "RequestIdMiddleware",
    "RetryMiddleware",
    "RetryableAnswer",
    "RouteKeys",
    "SendTimeoutMiddleware",
    "TraceScopeMiddleware",
    "TracingMiddleware",
    "client_left",
    "connection",
    "is_refusal",
    "mark_refused",
    "server_error",
]
