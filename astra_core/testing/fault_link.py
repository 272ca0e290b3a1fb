"""One connection through a fault proxy: a client, a server, a pump each way, and an end, clean or torn."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from astra_core.testing.fault_pump import CHUNK, Pump

if TYPE_CHECKING:
    from astra_core.testing.fault_pump import Weather
    from astra_core.testing.faults import Faults

__all__ = ["Link", "tear"]

_LINGER_NONE = struct.pack("ii", 1, 0)
"""`SO_LINGER` on, for 0 seconds: closing the socket sends RST and drops what was not sent (socket(7))."""
_CONNECT = 5.0
"""Seconds in which the server must accept."""
_FLUSH = 1.0
"""Seconds in which an end must take what is left for it."""


def tear(sock: socket.socket) -> None:
    """Let the close of `sock` be an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)


class Link:
    """Serves one accepted socket until either end, or `cut`, ends it. `faults` may be replaced at any time."""

    def __init__(self, client: socket.socket, server: tuple[str, int], faults: Faults, weather: Weather) -> None:
        self._client = client
        self._server = server
        self._faults = faults
        self._weather = weather
        self._pumps: list[Pump] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._torn = False
        self.task = asyncio.get_running_loop().create_task(self._run())
        self.task.add_done_callback(self._ended)

    @property
    def faults(self) -> Faults:
        """What is wrong with this connection."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        before, self._faults = self._faults, faults
        came_back = before.hang and not faults.hang
        if faults.reset or (came_back and (len(self._writers) < 2 or any(pump.lost for pump in self._pumps))):
            self.cut()
        for pump, flow in zip(self._pumps, (faults.up, faults.down), strict=False):
            pump.flow = flow

    def cut(self) -> None:
        """Tear the connection at both ends."""
        self._torn = True
        self.task.cancel()

    def _ended(self, _: asyncio.Task[None]) -> None:
        if not self._writers:  # it was cut before it began
            tear(self._client)
            self._client.close()

    async def _run(self) -> None:
        try:
            await self._connect()
            await self._pump()
        except OSError:
            self._torn = True
        finally:
            for writer in self._writers:
                self._end(writer)
        if not self._torn:
            await self._flush()

    async def _connect(self) -> None:
        reader, writer = await asyncio.open_connection(sock=self._client, limit=CHUNK)
        self._writers.append(writer)
        if self._faults.hang:
            self._pumps.append(Pump(reader, None, self._faults.up, self._weather))
            return
        async with asyncio.timeout(_CONNECT):
            there, back = await asyncio.open_connection(*self._server, limit=CHUNK)
        self._writers.append(back)
        for end in self._writers:
            end.transport.set_write_buffer_limits(high=CHUNK)
        self._pumps.append(Pump(reader, back, self._faults.up, self._weather))
        self._pumps.append(Pump(there, writer, self._faults.down, self._weather))

    async def _pump(self) -> None:
        """Pump until both directions have ended, or one of them ends the whole connection."""
        tasks = {asyncio.ensure_future(pump.run()) for pump in self._pumps}
        running = tasks
        try:
            while running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                if not all(task.result() for task in done):
                    return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, writer: asyncio.StreamWriter) -> None:
        if self._torn:
            sock: socket.socket | None = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:  # uvloop's closed transports have none
                tear(sock)
            writer.transport.abort()
        else:
            writer.close()

    async def _flush(self) -> None:
        for writer in self._writers:
            try:
                async with asyncio.timeout(_FLUSH):
                    await writer.wait_closed()
            except OSError:  # gone, or too slow for what was left
                writer.transport.abort()
