"""A redirect from memory: the fastest answer, and by far the most frequent one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from app.clicks import traced
from app.edge.redirects import TEMPLATE
from app.links.entry import PLAIN
from astra_core.asgi import ROUTE, TRACE, Layer

if TYPE_CHECKING:
    from app.clicks import Journal
    from app.edge.redirects import Freshness
    from app.links import Entry, Resolver
    from astra_core.asgi import ASGIApp, Exchange, Header, Receive, Scope, Send

__all__ = ["CachedRedirects"]

_NO_BODY: Header = (b"content-length", b"0")
_BODY = {"type": "http.response.body", "body": b""}


class CachedRedirects(Layer):
    """Answers a GET of a fresh cached link that has no start, expiry, limit or query to forward.

    Nothing is awaited but the sending, so the layers further in, which bound waiting, are not entered. The click is
    stored before the answer leaves.
    """

    def __init__(self, app: ASGIApp, *, resolver: Resolver, journal: Journal, freshness: Freshness) -> None:
        super().__init__(app)
        self._resolver = resolver
        self._look_up = resolver.entries.look_up
        self._mark = resolver.entries.mark
        self._record = journal.record
        self._fresh = freshness

    def enter(self, x: Exchange) -> ASGIApp | None:
        """Answer from memory, if that holds all that is needed."""
        scope = x.scope
        entry = self._look_up(scope["path"])
        if (
            entry is None
            or entry.kind != PLAIN
            or scope["method"] != "GET"
            or entry.filled_at < self._resolver.fresh_after
        ):
            return None
        self._mark(scope["path"])
        scope[ROUTE] = TEMPLATE
        return partial(self._redirect, entry)

    async def _redirect(self, entry: Entry, scope: Scope, receive: Receive, send: Send) -> None:
        for header in scope["headers"]:
            if header[0] == b"sec-purpose" and header[1].startswith(b"prefetch"):
                break
        else:
            trace = scope.get(TRACE)
            self._record(entry.code if trace is None else traced(entry.code, trace))
        self._resolver.hits += 1
        await send(
            {
                "type": "http.response.start",
                "status": entry.status,
                "headers": [(b"location", entry.location), self._fresh.header, _NO_BODY],
            }
        )
        await send(_BODY)
