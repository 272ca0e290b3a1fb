"""An id for every request, in its scope and in its answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astra_core.asgi import Layer, RequestIds
from astra_core.asgi.request_id import REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.asgi import ASGIApp, Exchange, Message, Scope

__all__ = ["RequestIdMiddleware", "RequestNames"]

_SAFE = re.compile(rb"[A-Za-z0-9._-]{1,128}")
"""What may stand in a log line and in a header as it is."""


class RequestNames:
    """Gives requests their ids, each its own: for those who name a request before a middleware did.

    The id is our own, unless a `trusted(scope)` caller sent one in `header` that is safe to repeat; nobody is trusted
    by default, since a stranger who chooses ids can make two requests look like one.
    """

    def __init__(
        self,
        *,
        ids: RequestIds | None = None,
        trusted: Callable[[Scope], bool] | None = None,
        header: bytes = b"x-request-id",
    ) -> None:
        self._next = (ids or RequestIds()).next
        self._trusted = trusted
        self._header = header.lower()

    def __call__(self, scope: Scope) -> None:
        """Put an id into the scope, under `REQUEST_ID`; one that is there already is kept."""
        if REQUEST_ID not in scope:
            trusted = self._trusted is not None and self._trusted(scope)
            scope[REQUEST_ID] = (self._sent(scope) if trusted else "") or self._next()

    def _sent(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == self._header:
                return value.decode("ascii") if _SAFE.fullmatch(value) else ""
        return ""


class RequestIdMiddleware(Layer):
    """Puts the request's id into the scope, as `RequestNames` does, and into the answer where `answers(status)`.

    A second `RequestIdMiddleware` further in changes nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        ids: RequestIds | None = None,
        trusted: Callable[[Scope], bool] | None = None,
        header: bytes = b"x-request-id",
        answers: Callable[[int], bool] | None = None,
    ) -> None:
        super().__init__(app)
        self._name = RequestNames(ids=ids, trusted=trusted, header=header)
        self._header = header.lower()
        self._answers = answers

    def enter(self, x: Exchange) -> None:
        """Give the request its id."""
        self._name(x.scope)

    def start(self, x: Exchange, message: Message) -> None:
        """Send it back. The headers are replaced, not added to: the application may send the same list each time."""
        if self._answers is None or self._answers(message["status"]):
            name = self._header
            headers = list(message.get("headers", ()))
            if name in dict(headers):
                headers = [header for header in headers if header[0] != name]
            headers.append((name, x.scope[REQUEST_ID].encode("ascii")))
            message["headers"] = headers
