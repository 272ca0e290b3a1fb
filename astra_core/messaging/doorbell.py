"""Waiting for news that may come from this process, where it rings, or from elsewhere, where one must look."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astra_core.clock import Clock

__all__ = ["Doorbell"]


class Doorbell:
    """`ring` wakes everybody who waits at that moment; who waits is woken anyway when the time is over."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake all who wait."""
        for waiter in self._waiting:
            _wake(waiter)

    async def wait(self, seconds: float) -> None:
        """Return at the next ring, or after `seconds`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sleeper = asyncio.ensure_future(self._clock.sleep(seconds))
        sleeper.add_done_callback(lambda _: _wake(waiter))
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
            sleeper.cancel()

    def __repr__(self) -> str:
        return f"Doorbell({len(self._waiting)} waiting)"


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
