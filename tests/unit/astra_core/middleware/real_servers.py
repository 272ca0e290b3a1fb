"""Servers over a socket, in the loop of the test."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import hypercorn.asyncio
import hypercorn.config
import uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from astra_core.asgi import ASGIApp

__all__ = ["SERVERS", "serving", "until"]

SERVERS = ["uvicorn", "hypercorn"]


class _Uvicorn(uvicorn.Server):
    """Signals stay the test's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def serving(app: ASGIApp, server: str) -> AsyncIterator[int]:
    """Serve `app` and give the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        port: int = listening.getsockname()[1]
        stop = asyncio.Event()
        if server == "uvicorn":
            config = uvicorn.Config(app, lifespan="off", ws="none", log_level="error", timeout_graceful_shutdown=1)
            uvicorned = _Uvicorn(config)
            running = asyncio.ensure_future(uvicorned.serve(sockets=[listening]))
            while not uvicorned.started:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        else:
            options = hypercorn.config.Config()
            options.bind = [f"fd://{listening.detach()}"]  # it closes it
            options.graceful_timeout = 0.2
            options.errorlog = None
            running = asyncio.ensure_future(
                hypercorn.asyncio.serve(app, options, shutdown_trigger=stop.wait, mode="asgi")  # type: ignore[arg-type]
            )
        try:
            yield port
        finally:
            stop.set()
            if server == "uvicorn":
                uvicorned.should_exit = True
            await asyncio.wait_for(running, 10)


async def until(holds: object, *, seconds: float = 5.0) -> None:
    """Wait until `holds()`; raises `TimeoutError` after so many seconds."""
    assert callable(holds)
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - tests of real sockets look at what became of them
            await asyncio.sleep(0.005)
