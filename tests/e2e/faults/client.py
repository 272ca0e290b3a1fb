"""A small HTTP/1.1 client on raw streams: it knows exactly which requests left and which answers came whole."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "Connection"]

TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)


class Connection:
    """One kept-alive connection, opened at the first request. A broken one raises `OSError` or `EOFError`, for good."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.transport.abort()

    async def request(
        self, method: str, path: str, payload: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request, with `payload` as JSON, and read the whole answer."""
        async with asyncio.timeout(TIMEOUT):
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
            assert self._reader is not None
            body = b"" if payload is None else json.dumps(payload).encode()
            lines = [f"{method} {path} HTTP/1.1", f"host: 127.0.0.1:{self._port}", f"content-length: {len(body)}"]
            if payload is not None:
                lines.append("content-type: application/json")
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
            return await _answer(self._reader, method)

    async def get(self, path: str) -> Answer:
        """GET `path`."""
        return await self.request("GET", path)

    async def post(self, path: str, payload: object, **headers: str) -> Answer:
        """POST JSON; header names with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.request("POST", path, payload, named)


async def _answer(reader: asyncio.StreamReader, method: str) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    body = b""
    if method != "HEAD":
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(first.split(" ", 2)[1]), headers, body)
