"""Rate, errors and duration of requests by route, under the names of prometheus-fastapi-instrumentator."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.samples import Exemplar

from astra_core.asgi import ROUTE, TRACE, Layer, Response, route_of
from astra_core.clock import SystemClock
from astra_core.telemetry import names
from astra_core.telemetry.http_record import BOUNDS, REQUEST_BYTES, RESPONSE_BYTES, SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_fastapi_instrumentator.metrics import Info

    from astra_core.asgi import ASGIApp, Exchange, Header, Message, Receive, Scope, Send
    from astra_core.clock import Clock
    from astra_core.telemetry import Metrics

__all__ = ["MetricsEndpoint", "MetricsMiddleware"]

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_EMPTY: Final = (b"content-length", b"0")
_BODILESS: Final = frozenset({"GET", "HEAD"})
_KEPT: Final = 10_000
_HEADERS: Final = "astra.metrics.headers"
_CLIENT_LEFT: Final = 499
"""Class 4xx, as nginx counts a request whose client did not wait for the answer."""
_FAILED: Final = 500


class MetricsMiddleware(Layer):
    """Counts each request into one record, by route template, method and class of status.

    A request that no route answered is `none`, a method that HTTP does not know is `OTHER`; a request that raised
    without an answer is 5xx, one that was cancelled 4xx. Sizes are those of `Content-Length`. A traced request leaves
    an exemplar. Put it outermost, so that it sees what the client sees; `route` names the template.

    `instrumentations` are functions of prometheus-fastapi-instrumentator's `Info`, such as that package's own; each is
    called with every request, at a price of some 10 us. Register their metrics with `metrics.registry`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        clock: Clock | None = None,
        route: Callable[[Scope], str | None] = route_of,
        instrumentations: Sequence[Callable[[Info], None]] = (),
    ) -> None:
        super().__init__(app)
        self._metrics = metrics
        self._clock = clock or SystemClock()
        self._now = self._clock.monotonic
        self._route = route
        self._instrumentations = tuple(instrumentations)
        self._records: dict[tuple[str | None, str, int], tuple[list[float], int]] = {}
        metrics.watch(names.HTTP_IN_PROGRESS, metrics.http_in_progress)

    def enter(self, x: Exchange) -> None:
        """Take the time."""
        self._metrics.http_begun += 1
        x.size = 0
        x.began = self._now()

    def start(self, x: Exchange, message: Message) -> None:
        """Note how much is sent."""
        headers = message.get("headers", ())
        if self._instrumentations:
            x.notes[_HEADERS] = headers
        if headers and headers[-1] == _EMPTY:
            return  # as of most redirects
        x.size = _length(headers)

    def rescue(self, x: Exchange, error: BaseException) -> None:
        """See who ended a request without an answer: a cancellation means that nobody wanted it any more."""
        if not x.started:
            x.size = -_CLIENT_LEFT if isinstance(error, asyncio.CancelledError) else -_FAILED

    def leave(self, x: Exchange) -> None:
        """Count."""
        seconds = self._now() - x.began
        scope = x.scope
        template = scope.get(ROUTE)
        if template is None:
            template = self._route(scope)
        values, at = self._records.get((template, scope["method"], x.status)) or self._record(template, x)
        place = at + bisect_left(BOUNDS, seconds)
        values[place] += 1
        values[at + SECONDS] += seconds
        if x.size > 0:
            values[at + RESPONSE_BYTES] += x.size
        if scope["method"] not in _BODILESS:
            values[at + REQUEST_BYTES] += _length(scope["headers"])
        trace = scope.get(TRACE)
        if trace is not None:
            self._exemplify(x, template, place - at, seconds, trace)
        if self._instrumentations:
            self._instrument(x, template, seconds)

    def _record(self, template: str | None, x: Exchange) -> tuple[list[float], int]:
        """Find the record of a kind of request that is not at hand, and keep it there if strangers cannot make many."""
        method = x.scope["method"]
        record = self._metrics.http_record(*_labels(template, method, x))
        if method in _METHODS and x.started and len(self._records) < _KEPT:
            self._records[template, method, x.status] = record
        return record

    def _exemplify(self, x: Exchange, template: str | None, bucket: int, seconds: float, trace: bytes) -> None:
        found = self._metrics.exemplars.setdefault(_labels(template, x.scope["method"], x), {})
        ids = {"trace_id": trace[:16].hex(), "span_id": trace[16:].hex()}
        found[bucket] = Exemplar(ids, seconds, self._clock.time())

    def _instrument(self, x: Exchange, template: str | None, seconds: float) -> None:
        from prometheus_fastapi_instrumentator.metrics import Info  # brings FastAPI's relatives: not for everybody
        from starlette.requests import Request
        from starlette.responses import Response as Answer

        response: Any = None
        if x.started:
            response = Answer(status_code=x.status)
            response.raw_headers = list(x.notes.get(_HEADERS, ()))
        handler, _, status = _labels(template, x.scope["method"], x)
        info = Info(
            request=Request(x.scope),
            response=response,
            method=x.scope["method"],
            modified_handler=handler,
            modified_status=status,
            modified_duration=seconds,
        )
        for instrumentation in self._instrumentations:
            instrumentation(info)


class MetricsEndpoint:
    """`GET /metrics` as an ASGI application, to mount where only your scraper comes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the figures of the whole service, in the format that `Accept` asks for."""
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
        media, body = await self._metrics.render(accept)
        headers = ((b"content-type", media.encode()), (b"cache-control", b"no-store"))
        await Response(200, body, headers)(scope, receive, send)


def _labels(template: str | None, method: str, x: Exchange) -> tuple[str, str, str]:
    status = x.status or -x.size or _FAILED
    return template or "none", method if method in _METHODS else "OTHER", f"{status // 100}xx"


def _length(headers: Iterable[Header]) -> int:
    value = dict(headers).get(b"content-length", b"")
    return int(value) if value.isdigit() and len(value) < 19 else 0
