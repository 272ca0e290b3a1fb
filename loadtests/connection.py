"""A keep-alive HTTP/1.1 connection, for load tests that look at each answer and must leave the core to the server."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Self

from loadtests.driving import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["Connection", "parse_head"]

_LIMIT = 2**20
_NOTHING: Mapping[str, str] = {}


class Connection:
    """One connection, one request at a time; an async context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=_LIMIT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def request(
        self, method: str, path: str, payload: object = None, *, headers: Mapping[str, str] = _NOTHING
    ) -> Answer:
        """Send one request, with a JSON body when there is a `payload`, and return its answer.

        Raises `asyncio.IncompleteReadError` or `OSError` when the connection is lost.
        """
        body = b"" if payload is None else json.dumps(payload).encode()
        given = {"host": f"{self._host}:{self._port}", "content-length": str(len(body)), **headers}
        if payload is not None:
            given.setdefault("content-type", "application/json")
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        self._writer.write("\r\n".join((*lines, "", "")).encode("latin-1") + body)
        status, answered = parse_head(await self._reader.readuntil(b"\r\n\r\n"))
        length = int(answered.get("content-length", "0"))
        return Answer(status, answered, await self._reader.readexactly(length) if length else b"")

    def __repr__(self) -> str:
        return f"<Connection {self._host}:{self._port}>"


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Return the status and the headers, names in lower case, of what stands before a body."""
    start, *fields = head.decode("latin-1").split("\r\n")
    pairs = (field.partition(":") for field in fields if field)
    return int(start.split(" ", 2)[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}
