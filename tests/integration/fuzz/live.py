"""The application in a loop of its own, for tests that run many examples and are not coroutines themselves."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from tests.integration.api.served import HOST, serve, settings_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Answer", "Live", "examples", "open_live"]


def examples(few: int, many: int) -> int:
    """How many examples a test takes: few by default, many for the full proof."""
    return many if os.environ.get("ASTRA_TEST_FULL") else few


@dataclass(frozen=True)
class Answer:
    """What the application sent for one request."""

    method: str
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """The value of a header that stands there at most once."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, self.headers
        return found[0] if found else None

    def check(self) -> None:
        """What holds for every answer, whatever was asked."""
        assert self.status < 500 or self.status == 503, self
        assert b"Traceback" not in self.body
        assert b'File "' not in self.body
        for name, value in self.headers:
            assert name == name.lower()
            assert not set(value) & set(b"\r\n\0"), self.headers
        location = self.header(b"location")
        assert location is None or all(0x21 <= byte <= 0x7E for byte in location), location
        if 300 <= self.status < 400:
            assert location is not None
            assert location.startswith((b"http://", b"https://"))
        if self.status >= 400 and self.method != "HEAD":
            assert self.header(b"content-type") == b"application/problem+json"
            problem = json.loads(self.body)
            assert problem["status"] == self.status
            assert {"type", "title", "detail", "instance", "request_id"} <= set(problem)


@dataclass
class Live:
    """A served application and the loop that it runs in."""

    http: httpx.AsyncClient
    loop: asyncio.AbstractEventLoop = field(repr=False)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request through a client, which sends only what is well-formed."""
        return self.loop.run_until_complete(self.http.request(method, path, **options))

    def raw(
        self,
        method: str,
        path: str,
        *,
        query: bytes = b"",
        headers: list[tuple[bytes, bytes]] | None = None,
        chunks: list[bytes] | None = None,
    ) -> Answer:
        """One request as a careless server could hand it over; a body of no chunks ends in a disconnect."""
        return self.loop.run_until_complete(self._raw(method, path, query, headers or [], chunks or []))

    async def _raw(
        self, method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], chunks: list[bytes]
    ) -> Answer:
        messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        if messages:
            messages[-1]["more_body"] = False
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode("utf-8", "replace"),
            "root_path": "",
            "query_string": query,
            "headers": headers,
            "client": ("127.0.0.1", 1234),
            "server": ("127.0.0.1", 80),
        }
        transport = self.http._transport
        assert isinstance(transport, httpx.ASGITransport)
        await transport.app(scope, receive, send)
        start, *rest = sent
        assert start["type"] == "http.response.start"
        assert all(message["type"] == "http.response.body" for message in rest)
        assert not rest[-1].get("more_body", False)
        return Answer(method, start["status"], start["headers"], b"".join(message.get("body", b"") for message in rest))


@contextmanager
def open_live(folder: Path) -> Iterator[Live]:
    """Open the application over a store in memory."""
    loop = asyncio.new_event_loop()
    opening = serve(settings_at(folder, "memory"))
    try:
        served = loop.run_until_complete(opening.__aenter__())
        assert str(served.http.base_url).rstrip("/") == HOST
        yield Live(served.http, loop)
        loop.run_until_complete(opening.__aexit__(None, None, None))
    finally:
        loop.close()
