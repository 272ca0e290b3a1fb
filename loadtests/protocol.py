"""Drives an application through uvicorn's own protocol class over transports that lead nowhere.

Everything that uvicorn does for a request is done (parsing, scope, task, response bytes, keep-alive timer); only the
socket and the system calls are missing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from loadtests.browsers import request_bytes
from loadtests.driving import Stopwatch

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Header

__all__ = ["Connections", "StubTransport"]

_LONG = 3600
_DATE = (b"date", b"Mon, 02 Nov 2026 10:00:00 GMT")


class StubTransport(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 8080), "peername": ("127.0.0.1", 50000)})
        self.written: list[bytes] = []
        self.write = self.written.append  # type: ignore[assignment]  # one call less for each write
        self.closed = False

    def is_closing(self) -> bool:
        """Whether the protocol closed it."""
        return self.closed

    def close(self) -> None:
        """Remember that the protocol closed it."""
        self.closed = True

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""


class Connections:
    """Keep-alive connections to one application, on the running loop; `close` them when done."""

    def __init__(self, app: ASGIApp, *, count: int) -> None:
        config = Config(
            cast("Any", app),
            http="httptools",
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_keep_alive=_LONG,  # nothing may close while other variants are measured
        )
        config.load()
        self._state = ServerState()
        self._state.default_headers = [_DATE, *config.encoded_headers]
        self._protocols = [HttpToolsProtocol(config, self._state, {}) for _ in range(count)]
        self._transports = [StubTransport() for _ in self._protocols]
        for protocol, transport in zip(self._protocols, self._transports, strict=True):
            protocol.connection_made(transport)

    async def drive(self, path: str, headers: tuple[Header, ...], *, requests: int) -> tuple[Stopwatch, int]:
        """Send at least `requests` GETs, one on every connection a turn; returns the time and how many it were."""
        request = request_bytes(path, headers)
        feeds = [protocol.data_received for protocol in self._protocols]
        outputs = [transport.written for transport in self._transports]
        turns = -(-requests // len(feeds))
        state = self._state
        watch = Stopwatch()
        for _ in range(turns):
            wanted = state.total_requests + len(feeds)
            for feed in feeds:
                feed(request)
            while state.total_requests < wanted:  # noqa: ASYNC110 - uvicorn has no event for it, and one would cost
                await asyncio.sleep(0)
            for output in outputs:
                output.clear()
        return watch.stop(), turns * len(feeds)

    async def answer(self, path: str, headers: tuple[Header, ...]) -> bytes:
        """Send one GET on the first connection and return the bytes of its answer."""
        wanted = self._state.total_requests + 1
        self._protocols[0].data_received(request_bytes(path, headers))
        while self._state.total_requests < wanted:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        written = self._transports[0].written
        answer = b"".join(written)
        written.clear()
        return answer

    def close(self) -> None:
        """Lose every connection, as when the peer goes away."""
        for protocol in self._protocols:
            protocol.connection_lost(None)
