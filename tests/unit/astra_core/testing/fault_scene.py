"""An echo server, a fault proxy before it and clients, for tests over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from astra_core.testing import FakeClock, FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["A_WHILE", "PATIENCE", "Client", "Echo", "Scene", "scene", "until"]

PATIENCE = 10.0
"""Seconds after which something counts as never."""
A_WHILE = 0.1
"""Seconds in which something that does not happen has time to."""


class Echo:
    """A server that sends back what it gets; `seen` is all that it got, `torn` counts the ends that were an RST."""

    def __init__(self) -> None:
        self.seen = b""
        self.ends = self.torn = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while data := await reader.read(65_536):
                self.seen += data
                writer.write(data)
                await writer.drain()
        except OSError:
            self.torn += 1
        except asyncio.CancelledError:
            pass  # the scene is over
        finally:
            self.ends += 1
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        """Drop every connection."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


class Client:
    """One connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Send without waiting."""
        self.writer.write(data)

    async def receive(self, size: int) -> bytes:
        """So many bytes, or what came before the end."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.readexactly(size)
            except asyncio.IncompleteReadError as error:
                return error.partial

    async def ask(self, data: bytes) -> bytes:
        """Send and receive the echo."""
        self.send(data)
        return await self.receive(len(data))

    async def is_silent(self) -> bool:
        """Whether nothing comes for a while, no end either."""
        try:
            async with asyncio.timeout(A_WHILE):
                await self.reader.readexactly(1)
        except TimeoutError:
            return True
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        return False


class Scene:
    """An echo server, a proxy before it, and clients."""

    def __init__(self, proxy: FaultProxy, echo: Echo, clock: FakeClock) -> None:
        self.proxy = proxy
        self.echo = echo
        self.clock = clock
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> Client:
        """A new connection."""
        reader, writer = await asyncio.open_connection(self.proxy.host, self.proxy.port)
        self._writers.append(writer)
        return Client(reader, writer)

    async def close(self) -> None:
        """Close the clients."""
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another task does."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - a condition of somebody else's making
            await asyncio.sleep(0.001)


@asynccontextmanager
async def scene(**options: object) -> AsyncIterator[Scene]:
    """Everything set up; time in the proxy stands still until the test moves it."""
    echo, clock = Echo(), FakeClock()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with FaultProxy("127.0.0.1", port, clock=clock, **options) as proxy:  # type: ignore[arg-type]
            stage = Scene(proxy, echo, clock)
            try:
                yield stage
            finally:
                await stage.close()
        assert proxy.connections == 0
    finally:
        await echo.close()
        server.close()
