"""Time as a constructor argument: nothing in Astra asks the operating system for it directly."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

__all__ = ["Clock", "SystemClock", "wait_done"]


class Clock(Protocol):
    """Two clocks and a sleep. `testing.FakeClock` moves by hand."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back. For durations and deadlines."""
        ...

    def time(self) -> float:
        """Wall time in seconds since the Unix epoch. For what people and records see."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend the caller for `seconds`."""
        ...


class SystemClock:
    """The operating system's clocks. The methods are the C functions themselves, so reading time costs no frame."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)


async def wait_done(future: asyncio.Future[Any], clock: Clock, seconds: float) -> None:
    """Return once `future` is done, or after `seconds` of `clock`; what it came to is left in it."""
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((future, timer), return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
