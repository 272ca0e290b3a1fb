"""Tries a request again when the application failed and another try is safe."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from astra_core.asgi import Layer
from astra_core.clock import SystemClock
from astra_core.middleware.notes import note_key
from astra_core.middleware.refusals import is_refusal
from astra_core.middleware.replay import Replay

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Exchange, Receive, Scope, Send
    from astra_core.clock import Clock
    from astra_core.resilience import RetryPolicy

__all__ = ["RetryMiddleware"]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2."""

_BODILESS = frozenset({"GET", "HEAD"})
_TEXTUAL = frozenset({"1.0", "1.1"})
"""Versions of HTTP in which a request says whether it has a body."""
_TRANSIENT = frozenset({502, 503, 504})


class RetryMiddleware(Layer):
    """Runs the application again by the rules of `retry`: tries, budget, backoff, `Retry-After`, deadline.

    What is tried again: a request of an idempotent method, or one with an `Idempotency-Key`; whose error the policy's
    `retry_on` takes, or whose answer has one of `statuses` (it is held back until it is final, and is a
    `RetryableAnswer` to the policy); of whose body no more than `max_body` bytes were read; of whose answer nothing
    has left. Never a refusal of our own (see `mark_refused`), never for a client that has gone, never a cancellation.
    When there is no further try the last error or answer goes out as it is.

    With no `statuses` a GET or HEAD over HTTP/1 runs as if this layer were not there until it fails, so the policy's
    `try_timeout` holds from its second try on. Otherwise body and answer go through this layer, which holds `max_body`
    bytes of each at most.

    Each try gets a scope of its own, as this layer received it. The policy needs no `retry_result` and never hedges
    here. `clock` tells the wall time for a `Retry-After` that is a date.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        retry: RetryPolicy,
        statuses: frozenset[int] = _TRANSIENT,
        max_body: int = 64 * 1024,
        key_header: bytes = b"idempotency-key",
        clock: Clock | None = None,
    ) -> None:
        super().__init__(app)
        self._retry = retry
        self._statuses = statuses
        self._max_body = max_body
        self._key_header = key_header.lower()
        self._clock = clock or SystemClock()
        self._note = note_key(self, "scope")

    def enter(self, x: Exchange) -> ASGIApp | None:
        """Keep the scope as it is now, or let this layer run the application."""
        scope = x.scope
        method = scope["method"]
        if method in _BODILESS and not self._statuses and scope["http_version"] in _TEXTUAL:
            scope[self._note] = dict(scope)
            self._deposit()
            return None
        if method in IDEMPOTENT or self._is_keyed(scope):
            self._deposit()
            return self._guarded
        return None

    def _is_keyed(self, scope: Scope) -> bool:
        for name, _ in scope["headers"]:  # noqa: SIM110 - a generator takes three times as long
            if name == self._key_header:
                return True
        return False

    def rescue(self, x: Exchange, error: BaseException) -> ASGIApp | None:
        """Try again, if nothing was lost; where an answer has begun this is not heeded."""
        scope = x.scope
        pristine = scope.pop(self._note, None)
        if pristine is None or not isinstance(error, Exception):
            return None
        return None if is_refusal(error) or _declares_body(scope) else partial(self._again, pristine, error)

    def leave(self, x: Exchange) -> None:
        """Let go of the scope that was kept: it may lead back to the one that holds it."""
        x.scope.pop(self._note, None)

    def _deposit(self) -> None:
        budget = self._retry.budget
        if budget is not None:
            budget.deposit()

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._replay(scope, receive, send).run()

    async def _again(self, pristine: Scope, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        await self._replay(pristine, receive, send, failed=error).run()

    def _replay(self, scope: Scope, receive: Receive, send: Send, failed: Exception | None = None) -> Replay:
        return Replay(
            self.app, scope, receive, send,
            retry=self._retry, statuses=self._statuses, limit=self._max_body, clock=self._clock, failed=failed,
        )  # fmt: skip


def _declares_body(scope: Scope) -> bool:
    """Whether an HTTP/1 request has a body (RFC 9112 section 6.3)."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )
