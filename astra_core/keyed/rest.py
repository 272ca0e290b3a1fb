"""Waiting until there is no work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from astra_core.clock import wait_done

if TYPE_CHECKING:
    from astra_core.clock import Clock

__all__ = ["GRACE", "Rest"]

GRACE = 1.0
"""Seconds for work that was cut to end; what swallows its cancellation is left behind after it."""


class Rest:
    """The moment at which an executor has no work; those who close it wait for that."""

    __slots__ = ("_clock", "_waiters")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiters: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        return f"Rest(waiters={len(self._waiters)})"

    def reached(self) -> None:
        """Wake all who wait for it."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Wait until it is reached, for at most `seconds`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await wait_done(waiter, self._clock, seconds)
        finally:
            self._waiters.remove(waiter)
