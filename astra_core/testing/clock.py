"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

__all__ = ["FakeClock"]


class FakeClock:
    """A `Clock` moved by hand: `advance` moves both clocks and wakes the sleepers that are due, earliest first."""

    def __init__(self, *, monotonic: float = 1_000.0, time: float = 1_700_000_000.0) -> None:
        self._monotonic = monotonic
        self._time = time
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def __repr__(self) -> str:
        return f"FakeClock(monotonic={self._monotonic}, time={self._time}, sleepers={self.sleepers})"

    @property
    def sleepers(self) -> int:
        """How many callers are asleep."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def monotonic(self) -> float:
        """Seconds since an arbitrary point."""
        return self._monotonic

    def time(self) -> float:
        """Seconds since the Unix epoch."""
        return self._time

    async def sleep(self, seconds: float) -> None:
        """Suspend the caller until the clock was moved by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        """Move the clocks by `seconds` at once; who is due runs at the caller's next await."""
        if seconds < 0:
            raise ValueError("time does not go back; use step() for the wall clock")
        self._move(self._monotonic + seconds)

    async def run_for(self, seconds: float) -> None:
        """Move the clocks by `seconds` sleeper by sleeper, so that loops which sleep again are woken each time."""
        end = self._monotonic + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._move(self._sleepers[0][0])
            await self._settle()
        self._move(end)
        await self._settle()

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back by `seconds`, as an operator or NTP may; monotonic time is untouched."""
        self._time += seconds

    def _move(self, to: float) -> None:
        self._time += to - self._monotonic
        self._monotonic = to
        while self._sleepers and self._sleepers[0][0] <= to:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)

    @staticmethod
    async def _settle() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
