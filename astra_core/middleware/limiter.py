"""A bound on the requests at work: in all, with a short queue, and for each connection."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from astra_core.asgi import Layer, Problem, Problems, RequestIds
from astra_core.clock import SystemClock
from astra_core.errors import Overloaded
from astra_core.middleware.notes import note_key
from astra_core.middleware.refusals import mark_refused
from astra_core.resilience import Priority, own_deadline_expired

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from astra_core.asgi import ASGIApp, Exchange, Receive, Scope, Send
    from astra_core.clock import Clock
    from astra_core.resilience import KeyedLimiter, Limiter

__all__ = ["LimiterMiddleware", "connection"]

_TOO_MANY = Problem(
    status=429,
    type="urn:astra:problem:too-many-at-once",
    title="Too many requests at once",
    detail="This connection has too many requests under way; wait for some of them to end.",
    retry_after=1.0,
)
_SERVER_ERROR = 500
_ONE_AT_A_TIME = frozenset({"1.0", "1.1"})


def connection(scope: Scope) -> Hashable | None:
    """The default for who a client is: a connection that can have several requests at once, HTTP/2 and later.

    Its address and port tell it from others. None, which is not capped, for HTTP/1, and where the server names none.
    """
    if scope["http_version"] in _ONE_AT_A_TIME:
        return None
    client = scope.get("client")
    return None if client is None else tuple(client)


class LimiterMiddleware(Layer):
    """Holds a permit of `limiter` for each request, and one of `per_client` for its `client(scope)`.

    When `limiter` is full a request queues with its `priority` (or `priority(scope)`); if no permit comes it is
    answered 503 with `Retry-After`. A client with too many requests is answered 429 at once: it alone is the cause,
    and a 503 would tell a proxy that this server is ill. The cap is what stops HTTP/2 Rapid Reset: streams that a
    client opened and reset leave their handlers running, outside the server's own count.

    An adaptive limiter learns from answers below 500 and from requests that our own deadline cut off, by `clock`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limiter: Limiter,
        per_client: KeyedLimiter | None = None,
        client: Callable[[Scope], Hashable | None] = connection,
        priority: Priority | Callable[[Scope], Priority] = Priority.NORMAL,
        problems: Problems | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(app)
        self._limiter = limiter
        self._try_acquire = limiter.try_acquire
        self._per_client = per_client
        self._client_of = client
        self._priority = priority
        self._problems = problems or Problems(RequestIds())
        self._now = (clock or SystemClock()).monotonic
        self._adaptive = limiter.is_adaptive
        self._apart = note_key(self, "apart")
        self._client = note_key(self, "client")
        self._began = note_key(self, "began")

    def enter(self, x: Exchange) -> ASGIApp | None:
        """Take the permits, or say who answers without them."""
        scope = x.scope
        if self._per_client is not None and (client := self._client_of(scope)) is not None:
            if not self._per_client.try_acquire(client):
                scope[self._apart] = True
                return self._too_many
            scope[self._client] = client
        if not self._try_acquire():
            scope[self._apart] = True
            return partial(self._queue, x)
        if self._adaptive:
            scope[self._began] = self._now()
        return None

    def leave(self, x: Exchange) -> None:
        """Give back the permits that `enter` took; one that was queued for has gone back already."""
        scope = x.scope
        if self._per_client is not None:
            client = scope.pop(self._client, None)
            if client is not None:
                self._per_client.release(client)
        if self._apart in scope:
            del scope[self._apart]
        elif self._adaptive:
            self._limiter.release(self._seconds(x, scope.pop(self._began)))
        else:
            self._limiter.release()

    async def _queue(self, x: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        priority = self._priority if isinstance(self._priority, Priority) else self._priority(scope)
        try:
            await self._limiter.acquire(priority)
        except Overloaded as refusal:
            await self._refuse(_overloaded(refusal.retry_after), scope, receive, send)
            return
        began = self._now()
        try:
            await self.app(scope, receive, send)
        finally:
            self._limiter.release(self._seconds(x, began) if self._adaptive else None)

    async def _too_many(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._refuse(_TOO_MANY, scope, receive, send)

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        mark_refused(scope, problem.status)
        await self._problems.respond(problem, scope)(scope, receive, send)

    def _seconds(self, x: Exchange, began: float) -> float | None:
        """How long the request took, if that says anything about load: a failure is often quick, whatever the load."""
        says = x.status < _SERVER_ERROR if x.started else own_deadline_expired()
        return self._now() - began if says else None


def _overloaded(retry_after: float) -> Problem:
    return Problem(
        status=503,
        type="urn:astra:problem:overloaded",
        title="Overloaded",
        detail="The server has too much to do at the moment; try again later.",
        retry_after=retry_after,
    )
