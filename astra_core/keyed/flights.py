"""Single-flight: concurrent callers of one key share one piece of work (the name is Go's `singleflight`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from astra_core.detached import detached

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

__all__ = ["Flight", "SingleFlight"]

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class Flight:
    """One piece of shared work under way; `stale` tells its starter that the key was marked meanwhile."""

    __slots__ = ("stale", "task", "waiters")

    def __init__(self) -> None:
        self.stale = False
        self.waiters: list[asyncio.Future[Any]] = []
        self.task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Flight(stale={self.stale}, waiters={len(self.waiters)})"


class SingleFlight(Generic[K, V]):
    """Runs one call a key at a time and gives its result, or its exception, to all who asked meanwhile.

    A cancelled caller leaves alone: the work goes on for the others, and ends even when all have left. `joins`
    counts callers who found a flight to share. One event loop only.

    The work has no deadline of whoever came first, which would hold for the others: each waits by its own, and the work
    as long as what it calls allows. The rest of that context it keeps, such as the trace.
    """

    __slots__ = ("_flights", "_running", "joins")

    def __init__(self) -> None:
        self._flights: dict[K, Flight] = {}
        self._running: set[Flight] = set()
        self.joins = 0

    def __len__(self) -> int:
        return len(self._running)

    def __repr__(self) -> str:
        return f"SingleFlight(running={len(self)}, joins={self.joins})"

    async def do(self, key: K, work: Callable[[Flight], Coroutine[Any, Any, V]]) -> V:
        """Return the result of `work(flight)`, or of the flight that is under way for `key`."""
        loop = asyncio.get_running_loop()
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight()
            self._running.add(flight)
            flight.task = loop.create_task(self._fly(key, flight, work), context=detached())
        else:
            self.joins += 1
        waiter: asyncio.Future[V] = loop.create_future()
        flight.waiters.append(waiter)
        return await waiter

    def mark(self, key: K) -> bool:
        """Mark the flight of `key` as stale: later callers start anew. Returns whether there was one."""
        flight = self._flights.pop(key, None)
        if flight is None:
            return False
        flight.stale = True
        return True

    def mark_all(self) -> None:
        """Mark every flight under way as stale."""
        self._flights.clear()
        for flight in self._running:
            flight.stale = True

    async def _fly(self, key: K, flight: Flight, work: Callable[[Flight], Coroutine[Any, Any, V]]) -> None:
        try:
            value = await work(flight)
        except asyncio.CancelledError:
            self._land(key, flight)
            for waiter in flight.waiters:
                waiter.cancel()
            raise
        except Exception as error:
            self._land(key, flight)
            for waiter in flight.waiters:
                if not waiter.done():
                    waiter.set_exception(error)
        else:
            self._land(key, flight)
            for waiter in flight.waiters:
                if not waiter.done():
                    waiter.set_result(value)

    def _land(self, key: K, flight: Flight) -> None:
        self._running.discard(flight)
        flight.task = None
        if self._flights.get(key) is flight:
            del self._flights[key]
