"""An id for every request, in its scope and in its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.asgi import Layer, RequestIds
from astra_core.asgi.request_id import REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.asgi import ASGIApp, Exchange, Message, Scope

__all__ = ["RequestIdMiddleware"]


class RequestIdMiddleware(Layer):
    """Puts the request's id into the scope, under `REQUEST_ID`, and into the answer where `answers(status)`.

    Give it `ids`, or `trusted` and `header` for some of its own; see `RequestIds`. An id that is in the scope already
    is kept: a second `RequestIdMiddleware` further in changes nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        ids: RequestIds | None = None,
        trusted: Callable[[Scope], bool] | None = None,
        header: bytes | str | None = None,
        answers: Callable[[int], bool] | None = None,
    ) -> None:
        super().__init__(app)
        if ids is None:
            ids = RequestIds(trusted=trusted) if header is None else RequestIds(trusted=trusted, header=header)
        elif trusted is not None or header is not None:
            raise TypeError("ids know whom they trust, and by which header: give them, or trusted and header")
        self._name = ids.of
        self._header = ids.header
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
