"""A whole response as one ASGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astra_core.asgi.types import Header, Receive, Scope, Send

__all__ = ["Response"]


class Response:
    """Status, headers and body, sent with the right `content-length`; the body is left out for HEAD, 204 and 304."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes = b"", headers: Iterable[Header] = ()) -> None:
        self.status = status
        self.body = body
        self.headers = list(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        headers, body = list(self.headers), self.body
        if self.status in {204, 304}:
            body = b""
        else:
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"
