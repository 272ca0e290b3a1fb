"""A circuit breaker round the application, one for each route or whatever else a key tells apart."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from astra_core.asgi import Layer, Problem, Problems, RequestIds
from astra_core.clock import SystemClock
from astra_core.middleware.inbox import INBOX, Inbox
from astra_core.middleware.passage import Passage
from astra_core.middleware.refusals import WITNESS, mark_refused
from astra_core.resilience import BreakerOpen

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.asgi import ASGIApp, Exchange, Receive, Scope, Send
    from astra_core.clock import Clock
    from astra_core.resilience import CircuitBreaker

__all__ = ["BreakerMiddleware", "client_left", "server_error"]

_log = logging.getLogger("astra.middleware")


def server_error(status: int) -> bool:
    """The default for which answers are failures: 500 and above."""
    return status >= 500


def client_left(error: Exception) -> bool:
    """The default for which errors count neither way: Starlette's `ClientDisconnect`, known by its name."""
    return any(kind.__name__ == "ClientDisconnect" for kind in type(error).__mro__)


class BreakerMiddleware(Layer):
    """Refuses requests to what fails: `breaker(key)` makes a circuit breaker for each `key(scope)`.

    A key of None has none; so have keys beyond the first `maximum`, and that is logged. `RouteKeys` gives the route's
    template. A refusal is 503 with `Retry-After`.

    A failure is an error, an answer that `is_failure(status)`, the two together once, and a request that our own
    deadline cut off. Neither way counts: a refusal of our own (see `mark_refused` and `is_refusal`), a deadline that a
    caller shortened, an error that `ignore` names, any other cancellation, whatever ends badly after the client has
    gone, and what came too late when more than half of the time was spent waiting for the client's body: no stranger
    can open a breaker.

    A request is timed until its answer begins, without the wait for its body. It holds its permit until it ends, so
    that an answer that begins well and breaks off is a failure; give endless streams no breaker. `clock` is that of
    the breakers.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        breaker: Callable[[str], CircuitBreaker],
        key: Callable[[Scope], str | None],
        maximum: int = 1_000,
        is_failure: Callable[[int], bool] = server_error,
        ignore: Callable[[Exception], bool] = client_left,
        problems: Problems | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(app)
        self._make = breaker
        self._key = key
        self._maximum = maximum
        self._is_failure = is_failure
        self._ignore = ignore
        self._problems = problems or Problems(RequestIds())
        self._now = (clock or SystemClock()).monotonic
        self.breakers: dict[str, CircuitBreaker] = {}
        """Those made so far, by key."""
        self._full = False

    def enter(self, x: Exchange) -> ASGIApp | None:
        """Find the breaker; a request that has one goes through it, any other costs no more than this."""
        key = self._key(x.scope)
        if key is None:
            return None
        breaker = self.breakers.get(key) or self._new(key)
        return None if breaker is None else partial(self._guarded, breaker)

    async def _guarded(self, breaker: CircuitBreaker, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            permit = breaker.begin()
        except BreakerOpen as refusal:
            mark_refused(scope, 503)
            await self._problems.respond(_open(refusal.retry_after), scope)(scope, receive, send)
            return
        outer, found = scope.get(WITNESS), scope.get(INBOX)
        inbox = found or Inbox(receive, self._now)
        if found is None:
            scope[INBOX] = inbox
            receive = inbox.receive
        passage = Passage(
            outer, breaker=breaker, permit=permit, inbox=inbox, waited=inbox.waited, forward=send,
            is_failure=self._is_failure,
        )  # fmt: skip
        scope[WITNESS] = passage
        try:
            await self.app(scope, receive, passage.send)
        except BaseException as error:
            passage.raised(error, ignore=self._ignore)
            raise
        else:
            passage.returned()
        finally:
            scope[WITNESS] = outer
            if found is None:
                inbox.close()
                del scope[INBOX]  # it leads back to the scope

    def _new(self, key: str) -> CircuitBreaker | None:
        if len(self.breakers) < self._maximum:
            breaker = self.breakers[key] = self._make(key)
            return breaker
        if not self._full:
            self._full = True
            _log.warning("there are %d breakers: %r and further keys have none", self._maximum, key)
        return None


def _open(retry_after: float) -> Problem:
    return Problem(
        status=503,
        type="urn:astra:problem:circuit-open",
        title="Unavailable for now",
        detail="This part of the service failed too often just now and is left alone for a while; try again later.",
        retry_after=retry_after,
    )
