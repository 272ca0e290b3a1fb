"""An ASGI server of one request for tests: it records what it is sent."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.asgi import ASGIApp, Header, Message, Scope


def http_scope(path: str = "/", *, method: str = "GET", headers: Sequence[Header] = (), query: bytes = b"") -> Scope:
    """Return the scope of one HTTP request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "replace"),
        "root_path": "",
        "query_string": query,
        "headers": list(headers),
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 8000),
    }


class Recorder:
    """What a server was sent, and what the answer in it says."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def send(self, message: Message) -> None:
        """Keep a message, as it is now."""
        self.sent.append(dict(message))

    @property
    def status(self) -> int:
        """The status sent, 0 when there was none; an answer that began twice fails."""
        statuses = [message["status"] for message in self.sent if message["type"] == "http.response.start"]
        assert len(statuses) <= 1
        return statuses[0] if statuses else 0

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The headers sent; a doubled one fails."""
        (pairs,) = (m["headers"] for m in self.sent if m["type"] == "http.response.start")
        headers = dict(pairs)
        assert len(headers) == len(list(pairs))
        return headers

    @property
    def body(self) -> bytes:
        """The body sent."""
        return b"".join(m.get("body", b"") for m in self.sent if m["type"] == "http.response.body")

    @property
    def problem(self) -> dict[str, Any]:
        """The body as problem+json."""
        assert self.headers[b"content-type"] == b"application/problem+json"
        problem: dict[str, Any] = json.loads(self.body)
        assert problem["status"] == self.status
        return problem


class Server(Recorder):
    """Receives one empty body from a client that stays, keeps every message sent."""

    def __init__(self, body: bytes = b"") -> None:
        super().__init__()
        self._body: bytes | None = body

    async def receive(self) -> Message:
        """Return the whole request body, then wait, as a server does."""
        if self._body is None:
            await asyncio.Event().wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def call(app: ASGIApp, scope: Scope, body: bytes = b"") -> Server:
    """Run one request to its end."""
    server = Server(body)
    await app(scope, server.receive, server.send)
    return server
