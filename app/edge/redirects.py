"""`GET|HEAD /{code}`: the whole redirect path, a raw ASGI handler. All else goes to the management application."""

from __future__ import annotations

import asyncio
import math
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from app.clicks import traced
from app.domain import is_reserved
from app.edge.pages import page_of, wants_page
from app.links.entry import (
    FORWARDS,
    GONE,
    LIMITED,
    TIMED,
)
from app.links.repository import EXHAUSTED, FEED, REMAINING
from astra_core.asgi import ROUTE, TRACE, Problem, Response
from astra_core.errors import CommitConflict
from astra_core.storage.writes import Change, Take

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from app.clicks import Journal
    from app.links import Entry, Resolver
    from astra_core.asgi import ASGIApp, Header, Problems, Receive, Scope, Send
    from astra_core.clock import Clock
    from astra_core.storage.store import Store

__all__ = ["TEMPLATE", "Freshness", "Redirects"]

TEMPLATE = "/{code}"
"""The route of every redirect, as metrics and logs name it."""

_CODE_PATH = re.compile(r"/[A-Za-z0-9_-]{3,64}", re.ASCII)
_NO_STORE: Header = (b"cache-control", b"private, no-store")
_QUERY_SAFE = "!$%&'()*+,-./:;=?@_~[]"
"""What a URL's query may hold as it is; the rest is percent-encoded before it enters a header."""

_UNKNOWN = Problem(
    status=404, type="urn:astra:problem:unknown-link", title="Unknown link", detail="No link has this code."
)
_NOT_STARTED = Problem(
    status=404, type="urn:astra:problem:unknown-link", title="Unknown link", detail="This link is not active yet."
)
_EXPIRED = Problem(status=410, type="urn:astra:problem:link-gone", title="Link gone", detail="This link has expired.")
_GONE = Problem(
    status=410,
    type="urn:astra:problem:link-gone",
    title="Link gone",
    detail="This link was disabled or deleted, or its visits are used up.",
)
_DEAD = frozenset({404, 410})
_METHOD = Problem(status=405, detail="A short link answers GET and HEAD.", headers=((b"allow", b"GET, HEAD"),))
_PREFETCH = Problem(
    status=403,
    type="urn:astra:problem:no-prefetch",
    title="Not prefetched",
    detail="Each visit of this link is counted against its limit, so it is not answered ahead of time.",
)


class Freshness:
    """How long browsers may keep a redirect; 0 seconds: not at all, so that every click is counted."""

    __slots__ = ("header", "max_age")

    def __init__(self, max_age: float) -> None:
        self.take(max_age)

    def take(self, max_age: float) -> None:
        """From now on, `max_age` seconds, rounded down."""
        self.max_age = int(max_age)
        self.header: Header = _private(self.max_age)
        """`Cache-Control` of a redirect that has no end of its own."""


class Redirects:
    """Answers short links from the resolver, and stores each click before its answer leaves."""

    def __init__(
        self,
        management: ASGIApp,
        *,
        resolver: Resolver,
        journal: Journal,
        store: Store,
        problems: Problems,
        clock: Clock,
        freshness: Freshness,
    ) -> None:
        self._management = management
        self._resolver = resolver
        self._record = journal.record
        self._store = store
        self._problems = problems
        self._time = clock.time
        self._look_up = resolver.entries.look_up
        self._fresh = freshness

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Choose who answers. A plain function: it costs no coroutine of its own."""
        if scope["type"] != "http":
            return self._management(scope, receive, send)
        path = scope["path"]
        if self._look_up(path) is None and (_CODE_PATH.fullmatch(path) is None or is_reserved(path[1:])):
            return self._management(scope, receive, send)
        scope[ROUTE] = TEMPLATE
        return self._resolved(scope, receive, send)

    async def _resolved(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            await self._answer(_METHOD, scope, receive, send)
            return
        entry = await self._resolver.resolve(scope["path"])
        refusal = _UNKNOWN if entry is None else self._refusal(entry)
        if entry is None or refusal is not None:
            await self._answer(refusal or _UNKNOWN, scope, receive, send)
            return
        visit = scope["method"] == "GET" and not _is_prefetch(scope)
        if entry.kind & LIMITED:
            if scope["method"] == "GET" and not visit:
                await self._answer(_PREFETCH, scope, receive, send)
                return
            # Whoever leaves meanwhile, or has no time left: what is taken is counted.
            if visit and not await asyncio.shield(self._taken(entry, scope)):
                await self._answer(_GONE, scope, receive, send)
                return
        elif visit:
            self._count(entry, scope)
        headers = [(b"location", _location(entry, scope)), self._cache_control(entry)]
        await Response(entry.status, headers=headers)(scope, receive, send)

    def _refusal(self, entry: Entry) -> Problem | None:
        """Times and state decide at every answer, cached and stale ones included."""
        if entry.kind & GONE:
            return _GONE
        if entry.kind & TIMED:
            now = self._time()
            if now >= entry.expires_at:
                return _EXPIRED
            if now < entry.starts_at:
                return _NOT_STARTED
        return None

    def _count(self, entry: Entry, scope: Scope) -> None:
        """Store the click."""
        trace = scope.get(TRACE)
        self._record(entry.code if trace is None else traced(entry.code, trace))

    async def _taken(self, entry: Entry, scope: Scope) -> bool:
        """Take one visit of a limited link; its last one tells every cache, and its history, that it is used up."""
        code = entry.code.decode("ascii")
        last = (Change(feed=FEED, key=code), Change(feed=EXHAUSTED, key=code))
        try:
            (left,) = await self._store.commit([Take(counters=REMAINING, key=code, at_zero=last)])
        except CommitConflict:
            return False
        if left == 0:
            self._resolver.apply(code)
        self._count(entry, scope)
        return True

    def _cache_control(self, entry: Entry) -> Header:
        """Never let a browser keep a redirect past the link's expiry, nor one whose visits are counted down."""
        if entry.kind & LIMITED:
            return _NO_STORE
        if entry.expires_at == math.inf:
            return self._fresh.header
        return _private(min(self._fresh.max_age, int(entry.expires_at - self._time())))

    async def _answer(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with `problem`; a browser that came to a dead link gets a page."""
        if problem.status in _DEAD and wants_page(scope):
            response = page_of(problem, self._problems.id_of(scope))
        else:
            response = self._problems.respond(problem, scope)
        await response(scope, receive, send)


def _private(age: int) -> Header:
    return (b"cache-control", b"private, max-age=%d" % age) if age > 0 else _NO_STORE


def _is_prefetch(scope: Scope) -> bool:
    return any(name == b"sec-purpose" and value.startswith(b"prefetch") for name, value in scope["headers"])


def _location(entry: Entry, scope: Scope) -> bytes:
    """Return where to, with the request's query appended when the link forwards it."""
    location = entry.location
    query = scope["query_string"]
    if not (entry.kind & FORWARDS and query):
        return location
    target, mark, fragment = location.partition(b"#")
    joint = b"&" if b"?" in target else b"?"
    return target + joint + quote(query, safe=_QUERY_SAFE).encode("ascii") + mark + fragment
