"""Waiting for news that may come from this process, where it rings, or from elsewhere, where one must look."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from astra_core.clock import wait_done

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
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Return at the next ring, or after `seconds`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await wait_done(waiter, self._clock, seconds)
        finally:
            self._waiting.discard(waiter)

    def __repr__(self) -> str:
        return f"Doorbell({len(self._waiting)} waiting)"
