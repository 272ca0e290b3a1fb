"""One line for a sampled, failed or slow request, and the request's names in every line logged on its way."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from typing import TYPE_CHECKING, Any

from astra_core.asgi import Layer
from astra_core.asgi.route import route_of
from astra_core.clock import SystemClock
from astra_core.telemetry.log_context import REQUEST, RequestOf, log_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.asgi import ASGIApp, Exchange, Scope
    from astra_core.clock import Clock

__all__ = ["AccessLogMiddleware", "LogContextMiddleware"]

NEVER = 1 << 62
CLIENT_GONE = 499  # nginx's status for a client that left; no answer carries it
_SERVER_ERROR = 500
_METHOD = 16
_PATH = 256
_NOTE = "astra.access_log"
_TOKEN = "astra.log_context"  # noqa: S105 - the name of a note


class AccessLogMiddleware(Layer):
    """Logs a share `ratio` of the requests, and all that failed or took `slow` seconds or longer.

    Of those at most `per_second` lines a second are written, in bursts of as many; `suppressed` counts the others. A
    request failed when it raised or its status is 5xx (an error line), a slow one gives a warning. A request that was
    cancelled has status 499, and is sampled like the others. The query string is never logged. `route(scope)` returns
    the template; `random()` a number in [0, 1); `name(scope)` gives an id to a request that is logged and has none,
    as `RequestIds.of` does.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        ratio: float = 0.01,
        slow: float = 1.0,
        per_second: float = 100.0,
        logger: logging.Logger | None = None,
        route: Callable[[Scope], str | None] = route_of,
        clock: Clock | None = None,
        random: Callable[[], float] = random.random,
        name: Callable[[Scope], object] | None = None,
    ) -> None:
        super().__init__(app)
        self._logger = logger or logging.getLogger("astra.access")
        self._route = route
        self._now = (clock or SystemClock()).monotonic
        self._random = random
        self._name = name
        self.suppressed = 0
        self._refilled = self._now()
        self.configure(ratio=ratio, slow=slow, per_second=per_second)
        self._tokens = self._burst

    def configure(
        self, *, ratio: float | None = None, slow: float | None = None, per_second: float | None = None
    ) -> None:
        """Change the share (0 to 1), the seconds of a slow request, or the lines a second, also while it serves."""
        if ratio is not None:
            self._ratio = ratio
            self._gap = self._next_gap()
        if slow is not None:
            self._slow = slow
        if per_second is not None:
            self._rate = per_second
            self._burst = max(1.0, per_second)

    def enter(self, x: Exchange) -> None:
        """Note when it began."""
        x.began = self._now()

    def rescue(self, x: Exchange, error: BaseException) -> None:
        """Note what it raised, and that it is no ordinary request."""
        x.notes[_NOTE] = (error, x.began)
        x.began = -math.inf

    def leave(self, x: Exchange) -> None:
        """Log it, or not: nearly always a comparison and a step down to the next sampled one."""
        if self._now() - x.began < self._slow and 0 < x.status < _SERVER_ERROR:
            self._gap -= 1
            if self._gap > 0:
                return
            self._gap = self._next_gap()
            self._log(x, logging.INFO, "sampled", x.status, self._now() - x.began)
            return
        self._unusual(x)

    def _unusual(self, x: Exchange) -> None:
        error, x.began = x.notes.pop(_NOTE, (None, x.began))  # given back: an outer layer may read it
        seconds = self._now() - x.began
        if isinstance(error, asyncio.CancelledError) and seconds < self._slow:
            self._gap -= 1
            if self._gap <= 0:
                self._gap = self._next_gap()
                self._log(x, logging.INFO, "sampled", CLIENT_GONE, seconds)
            return
        if not self._allowed():
            self.suppressed += 1
        elif isinstance(error, asyncio.CancelledError):
            self._log(x, logging.WARNING, "slow", CLIENT_GONE, seconds)
        elif error is not None or not 0 < x.status < _SERVER_ERROR:
            self._log(x, logging.ERROR, "error", x.status or _SERVER_ERROR, seconds, error)
        else:
            self._log(x, logging.WARNING, "slow", x.status, seconds)

    def _log(
        self, x: Exchange, level: int, why: str, status: int, seconds: float, error: BaseException | None = None
    ) -> None:
        if not self._logger.isEnabledFor(level):
            return
        scope = x.scope
        if self._name is not None:
            self._name(scope)
        route = self._route(scope)
        method = scope["method"][:_METHOD]
        extra: dict[str, Any] = {
            "method": method,
            "route": route,
            "path": scope["path"][:_PATH],
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            "client": scope["client"][0] if scope.get("client") else None,
            "http_version": scope.get("http_version"),
            "why": why,
            REQUEST: RequestOf(scope),
        }
        if error is not None:
            extra["error"] = type(error).__name__
        # Not by `log`, which looks through the stack for the line of code that called: it is always this one.
        record = logging.LogRecord(
            self._logger.name, level, __file__, 0, "%s %s %d", (method, route or "-", status), None
        )
        record.__dict__.update(extra)
        self._logger.handle(record)

    def _allowed(self) -> bool:
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._refilled) * self._rate)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _next_gap(self) -> int:
        """Requests up to and with the next sampled one: geometric, so that each has the same chance."""
        if self._ratio >= 1:
            return 1
        if self._ratio <= 0:
            return NEVER
        return 1 + min(NEVER, int(math.log1p(-self._random()) / math.log1p(-self._ratio)))


class LogContextMiddleware(Layer):
    """Every line that the application logs inside carries the ids of its request, where it has any."""

    def enter(self, x: Exchange) -> None:
        """Remember the request."""
        x.notes[_TOKEN] = log_context.set(x.scope)

    def leave(self, x: Exchange) -> None:
        """Forget it."""
        log_context.reset(x.notes[_TOKEN])
