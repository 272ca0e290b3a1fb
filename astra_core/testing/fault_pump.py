"""One direction of a proxied connection: bytes read, held back as long as the faults say, and handed on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from random import Random

    from astra_core.clock import Clock
    from astra_core.testing.faults import Flow

__all__ = ["CHUNK", "Pump", "Weather"]

CHUNK = 16 * 1024
"""The most bytes that are handed on at once."""
_HELD = 16
"""Pieces that may be held back: at most 256 KiB, then the sender feels it."""
_TICK = 0.02
"""Seconds of a narrow bandwidth that are sent at once."""


class Weather(Protocol):
    """The faults as a pump sees them."""

    clock: Clock
    random: Random

    @property
    def hang(self) -> bool:
        """Whether bytes are swallowed now."""
        ...

    async def changed(self, seconds: float | None = None) -> None:
        """Return when the faults have changed, or after so many seconds."""
        ...


class Pump:
    """Hands the bytes of `reader` to `writer`. `flow` may be replaced at any time, and holds for bytes held back too.

    `lost` says that bytes were swallowed: what comes after them makes no sense to the other side.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, flow: Flow, weather: Weather
    ) -> None:
        self.lost = False
        self._reader = reader
        self._writer = writer
        self._weather = weather
        self._now = weather.clock.monotonic
        self._held: asyncio.Queue[tuple[float, float, bytes]] = asyncio.Queue(_HELD)
        self._free_at = 0.0
        self._torn = False
        self._flow = flow
        self._passed = 0

    @property
    def flow(self) -> Flow:
        """What happens to the bytes."""
        return self._flow

    @flow.setter
    def flow(self, flow: Flow) -> None:
        if flow != self._flow:
            self._flow = flow
            self._passed = 0

    async def run(self) -> bool:
        """Pump until the source ends; False when the connection is to be closed before that.

        Raises `OSError` when an end was torn.
        """
        reading = asyncio.ensure_future(self._read())
        try:
            return await self._write()
        finally:
            reading.cancel()
            await asyncio.wait((reading,))

    async def _read(self) -> None:
        data = b"-"
        try:
            while data:
                data = await self._reader.read(CHUNK)
                await self._held.put((self._now(), self._weather.random.random(), data))
        except OSError:
            self._torn = True
            await self._held.put((self._now(), 0.0, b""))

    async def _write(self) -> bool:
        while True:
            arrived, draw, data = await self._held.get()
            await self._hold_back(arrived, draw)
            if self._weather.hang or self._writer is None:
                self.lost = True
                if not data:
                    return True
                continue
            if not data:
                if self._torn:
                    raise ConnectionResetError
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                return True
            if not await self._hand_on(self._writer, data):
                return False

    async def _hold_back(self, arrived: float, draw: float) -> None:
        while not self._weather.hang:
            flow = self._flow
            left = arrived + flow.latency + flow.jitter * draw - self._now()
            if not flow.blackhole and left <= 0:
                return
            await self._weather.changed(None if flow.blackhole else left)

    async def _hand_on(self, writer: asyncio.StreamWriter, data: bytes) -> bool:
        """Send `data` as fast as the bandwidth allows; False when that was enough for this connection."""
        while data:
            await self._wait_for_bandwidth()
            flow = self._flow
            if self._weather.hang:
                self.lost = True
                return True
            size = len(data) if flow.bandwidth is None else max(1, int(flow.bandwidth * _TICK))
            if flow.close_after is not None:
                size = min(size, flow.close_after - self._passed)
            if size > 0:
                writer.write(data[:size])
                await writer.drain()
            data = data[size:]
            if flow is self._flow:
                self._passed += size
                if flow.bandwidth is not None:
                    self._free_at = self._now() + size / flow.bandwidth
            if flow.close_after is not None and self._passed >= flow.close_after:
                return False
        return True

    async def _wait_for_bandwidth(self) -> None:
        while not self._weather.hang:
            left = 0.0 if self._flow.bandwidth is None else self._free_at - self._now()
            if left <= 0 and not self._flow.blackhole:
                return
            await self._weather.changed(None if self._flow.blackhole else left)
