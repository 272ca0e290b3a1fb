"""Server spans behind a gate: a request that is not sampled costs a look at its headers and a subtraction."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.instrumentation._semconv import _StabilityMode
from opentelemetry.instrumentation.asgi import collect_request_attributes
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanKind, StatusCode

from astra_core.asgi import TRACE, Layer, route_of
from astra_core.clock import SystemClock
from astra_core.telemetry.trace_context import Parent, parent_of, span_context
from astra_core.telemetry.tracing import CURRENT, compact

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from astra_core.asgi import ASGIApp, Exchange, Scope
    from astra_core.clock import Clock
    from astra_core.telemetry import Tracing

__all__ = ["TraceScopeMiddleware", "TracingMiddleware"]

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_FAILED: Final = 500
_SPAN: Final = "astra.span"
_PARENT: Final = "astra.parent"
_ERROR: Final = "astra.span.error"
_SCOPE: Final = "astra.trace_scope"
_RANDOM: Final = trace.TraceFlags(trace.TraceFlags.RANDOM_TRACE_ID)
_IDS: Final = RandomIdGenerator()


class TracingMiddleware(Layer):
    """Makes a span of each sampled request, with the stable HTTP conventions of OpenTelemetry.

    The name is `{method} {http.route}`; the query, which may hold what is nobody's business, is never recorded. Who
    sends a `traceparent` decides whether his request is traced, within what the sampler allows a second, if `accept`
    lets his word count; without one the sampler's chance decides. A request that failed leaves a span in any case:
    where it was not sampled, one that is made at its end, without what happened inside.

    Attributes come from opentelemetry-instrumentation-asgi's own helper; its middleware, which costs each request five
    times as much and records the query, is not entered.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tracing: Tracing,
        route: Callable[[Scope], str | None] = route_of,
        accept: Callable[[Scope], bool] | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(app)
        self._tracing = tracing
        self._sampler = tracing.sampler
        self._route = route
        self._accept = accept
        self._now = (clock or SystemClock()).monotonic

    def enter(self, x: Exchange) -> None:
        """Decide, and begin the span of a request that is traced."""
        x.began = self._now()
        for header in x.scope["headers"]:
            if header[0] == b"traceparent":
                self._told(x)
                return
        sampler = self._sampler
        sampler.gap -= 1
        if sampler.gap <= 0 and sampler.drawn():
            self._begin(x, None)

    def _told(self, x: Exchange) -> None:
        """The caller has decided, or thinks so."""
        accepted = self._accept is None or self._accept(x.scope)
        parent = parent_of(x.scope["headers"]) if accepted else None
        if parent is not None:
            x.scope[_PARENT] = parent
        if (parent.sampled and self._sampler.allows()) if parent is not None else self._sampler.by_chance():
            self._begin(x, parent)

    def _begin(self, x: Exchange, parent: Parent | None) -> None:
        span = self._start(x.scope, parent, None)
        x.scope[TRACE] = compact(span.get_span_context())
        x.notes[_SPAN] = (span, context_api.attach(trace.set_span_in_context(span)), CURRENT.set(span))

    def _start(self, scope: Scope, parent: Parent | None, start_time: int | None) -> Span:
        shown = {**scope, "query_string": b""}
        return self._tracing.start(
            _method(scope),
            kind=SpanKind.SERVER,
            parent=None if parent is None else span_context(parent, sampled=parent.sampled),
            described=partial(collect_request_attributes, shown, _StabilityMode.HTTP),
            start_time=start_time,
        )

    def rescue(self, x: Exchange, error: BaseException) -> None:
        """Note what it raised: nothing, when it was cancelled because nobody waited for it."""
        x.notes[_ERROR] = "" if isinstance(error, asyncio.CancelledError) else type(error).__qualname__

    def leave(self, x: Exchange) -> None:
        """End the span, or make one of a request that failed."""
        if TRACE in x.scope and _SPAN in x.notes:
            span, token, mine = x.notes.pop(_SPAN)
            CURRENT.reset(mine)
            context_api.detach(token)
            self._finish(x, span)
        elif (x.status >= _FAILED or not x.status) and _has_failed(x) and self._sampler.allows():
            began = time.time_ns() - int((self._now() - x.began) * 1e9)
            self._finish(x, self._start(x.scope, x.scope.get(_PARENT), began))

    def _finish(self, x: Exchange, span: Span) -> None:
        template = self._route(x.scope)
        if template is not None:
            span.update_name(f"{_method(x.scope)} {template}")
            span.set_attribute("http.route", template)
        if x.status:
            span.set_attribute("http.response.status_code", x.status)
        if _has_failed(x):
            span.set_attribute("error.type", x.notes.get(_ERROR) or str(x.status or _FAILED))
            span.set_status(StatusCode.ERROR)
        span.end()


def _has_failed(x: Exchange) -> bool:
    """Whether it ended badly, for somebody who waited."""
    return x.status >= _FAILED or (not x.status and x.notes.get(_ERROR) != "")


class TraceScopeMiddleware(Layer):
    """Keeps the trace of a request that is not sampled, so that what is called from it hears of the decision.

    Put it below whatever answers from memory: only a request that waits for others has anything to hand on.
    """

    def enter(self, x: Exchange) -> None:
        """Attach the caller's span, or a new one, as one that is not recorded."""
        if TRACE in x.scope:
            return
        context = _unsampled(x.scope.get(_PARENT))
        x.notes[_SCOPE] = context_api.attach(trace.set_span_in_context(trace.NonRecordingSpan(context)))

    def leave(self, x: Exchange) -> None:
        """Forget it."""
        token: Any = x.notes.pop(_SCOPE, None)
        if token is not None:
            context_api.detach(token)


def _unsampled(parent: Parent | None) -> trace.SpanContext:
    """Return a span of our own that is not recorded, in the caller's trace where there is one."""
    span_id = _IDS.generate_span_id()
    if parent is None:
        return trace.SpanContext(_IDS.generate_trace_id(), span_id, False, _RANDOM)
    told = span_context(parent, sampled=False)
    return trace.SpanContext(told.trace_id, span_id, False, told.trace_flags, told.trace_state)


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in _METHODS else "HTTP"
