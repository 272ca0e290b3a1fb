"""A TCP proxy with faults that can be switched while connections live, for tests against real sockets."""

from __future__ import annotations

import asyncio
import random as random_module
import socket
from typing import TYPE_CHECKING

from astra_core.clock import SystemClock
from astra_core.testing.fault_link import Link, tear
from astra_core.testing.faults import FAULTLESS, Faults

if TYPE_CHECKING:
    from random import Random
    from types import TracebackType
    from typing import Self

    from astra_core.clock import Clock

__all__ = ["FaultProxy"]

_BACKLOG = 128
_PLACE = "127.0.0.1"


class FaultProxy:
    """Stands between clients and the server at `host` and `port`, on a port of its own of the loopback interface.

    >>> async with FaultProxy("127.0.0.1", 6379) as proxy:
    ...     client = connect(proxy.host, proxy.port)
    ...     proxy.faults = Faults(down=Flow(latency=0.2, jitter=0.1))
    ...     proxy.faults = FAULTLESS

    `faults` takes effect at once, for connections that live and for bytes that are held back too. The port stays the
    proxy's while it refuses. Bytes held back in one direction of one connection are bounded (some 350 KiB), and so are
    connections: one more than `max_connections` is torn. A client whose server cannot be reached is torn as well, since
    it has been accepted already. `random` draws the jitter; seeded alike, it draws alike.

    `connections` live now, `accepted` counts all that ever were. One event loop; Linux and macOS.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        faults: Faults = FAULTLESS,
        clock: Clock | None = None,
        random: Random | None = None,
        max_connections: int = 1_000,
    ) -> None:
        self.host = _PLACE
        self.accepted = 0
        self.clock: Clock = clock or SystemClock()
        self.random = random or random_module.Random(0)  # noqa: S311 - jitter
        self._server = (host, port)
        self._faults = faults
        self._most = max_connections
        self._links: set[Link] = set()
        self._keeper: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._change = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._keeper = _bound(0)
        self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def port(self) -> int:
        """Where clients connect to; known once the proxy is open."""
        if self._keeper is None:
            raise RuntimeError("a fault proxy has a port only while it is open")
        port: int = self._keeper.getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """Connections that live."""
        return len(self._links)

    @property
    def faults(self) -> Faults:
        """What is wrong now."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        for link in self._links:
            link.faults = faults
        change, self._change = self._change, asyncio.Event()
        change.set()
        if self._keeper is not None:
            self._listen()

    @property
    def hang(self) -> bool:
        """Whether bytes are swallowed now."""
        return self._faults.hang

    async def changed(self, seconds: float | None = None) -> None:
        """Return when the faults have changed, or after so many seconds."""
        if seconds is None:
            await self._change.wait()
            return
        waits = [asyncio.ensure_future(self._change.wait()), asyncio.ensure_future(self.clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def close(self) -> None:
        """Close the port and tear every connection."""
        self._stop_listening()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        tasks = [link.task for link in self._links]
        for link in self._links:
            link.cut()
        if tasks:
            await asyncio.wait(tasks)

    def _listen(self) -> None:
        if self._faults.refuse:
            self._stop_listening()
        elif self._listener is None:
            listener = self._listener = _bound(self.port)
            listener.listen(_BACKLOG)
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        try:
            client = listener.accept()[0]
        except OSError:  # it left while it waited to be accepted
            return
        client.setblocking(False)
        self.accepted += 1
        if self._faults.reset or len(self._links) >= self._most:
            tear(client)
            client.close()
            return
        link = Link(client, self._server, self._faults, self)
        self._links.add(link)
        link.task.add_done_callback(lambda _: self._links.discard(link))

    def __repr__(self) -> str:
        where = "closed" if self._keeper is None else f"{self.host}:{self.port}"
        return (
            f"FaultProxy({where} → {self._server[0]}:{self._server[1]}, connections={len(self._links)}, {self.faults})"
        )


def _bound(port: int) -> socket.socket:
    """A socket on `port`. One that does not listen keeps the port while none accepts, and the kernel refuses."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((_PLACE, port))
    return sock
