"""Single-flight: sharing, cancellation, exceptions and marks."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from astra_core.detached import DEADLINE
from astra_core.keyed import Flight, SingleFlight


class Work:
    """A piece of work that counts its runs and ends when told."""

    def __init__(self) -> None:
        self.runs = 0
        self.go = asyncio.Event()
        self.flights: list[Flight] = []
        self.error: Exception | None = None

    async def __call__(self, flight: Flight) -> int:
        """Wait for `go`, then return the number of the run."""
        self.runs += 1
        run = self.runs
        self.flights.append(flight)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return run


async def turn() -> None:
    """Let every ready task run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_concurrent_callers_of_one_key_share_one_run() -> None:
    """Five callers get the one result; another key runs by itself; later callers run anew."""
    flights: SingleFlight[str, int] = SingleFlight()
    work, other = Work(), Work()
    callers = [asyncio.create_task(flights.do("k", work)) for _ in range(5)]
    apart = asyncio.create_task(flights.do("other", other))
    await turn()
    assert (len(flights), flights.joins, work.runs, other.runs) == (2, 4, 1, 1)
    work.go.set()
    other.go.set()
    assert await asyncio.gather(*callers, apart) == [1] * 6
    assert len(flights) == 0
    assert await flights.do("k", work) == 2


async def test_a_cancelled_caller_leaves_the_work_to_the_others() -> None:
    """The one who started it may go, and so may all: the work ends."""
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    first, second = (asyncio.create_task(flights.do("k", work)) for _ in range(2))
    await turn()
    first.cancel()
    await turn()
    assert first.cancelled()
    work.go.set()
    assert await second == 1
    work.go.clear()
    alone = asyncio.create_task(flights.do("k", work))
    await turn()
    alone.cancel()
    await turn()
    assert len(flights) == 1
    work.go.set()
    await turn()
    assert len(flights) == 0


async def test_an_exception_reaches_every_caller() -> None:
    """A failure is shared as a result is, and the next caller tries anew."""
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    work.error = RuntimeError("down")
    callers = [asyncio.create_task(flights.do("k", work)) for _ in range(3)]
    await turn()
    work.go.set()
    assert await asyncio.gather(*callers, return_exceptions=True) == [work.error] * 3
    work.error = None
    assert await flights.do("k", work) == 2


async def test_a_marked_flight_is_stale_and_joined_no_more() -> None:
    """After a mark the starter sees it, those who joined before get its result, later callers start anew."""
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    old = asyncio.create_task(flights.do("k", work))
    await turn()
    assert flights.mark("k") is True
    assert flights.mark("k") is False
    new = asyncio.create_task(flights.do("k", work))
    await turn()
    assert [flight.stale for flight in work.flights] == [True, False]
    assert len(flights) == 2
    flights.mark_all()
    assert all(flight.stale for flight in work.flights)
    newest = asyncio.create_task(flights.do("k", work))
    await turn()
    assert work.flights[2].stale is False
    work.go.set()
    assert list(await asyncio.gather(old, new, newest)) == [1, 2, 3]
    assert (len(flights), flights.joins) == (0, 0)


NAME: ContextVar[str] = ContextVar("NAME", default="nobody's")


async def test_the_work_has_no_deadline_of_its_first_caller() -> None:
    """The others may wait longer; what else is known of the first one is known to the work too."""

    async def known(flight: Flight) -> tuple[str, object]:
        return NAME.get(), DEADLINE.get()

    NAME.set("the first caller's")
    DEADLINE.set("the first caller's")
    assert await SingleFlight[str, tuple[str, object]]().do("k", known) == ("the first caller's", None)
    assert DEADLINE.get() == "the first caller's"


async def test_work_that_is_cancelled_cancels_who_waits() -> None:
    """A flight torn down from outside leaves no caller hanging."""
    flights: SingleFlight[str, int] = SingleFlight()

    async def torn(flight: Flight) -> int:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await flights.do("k", torn)
    assert len(flights) == 0
