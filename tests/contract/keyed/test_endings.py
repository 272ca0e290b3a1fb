"""What every executor promises of work that fails, is taken back, or is cut."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from astra_core.errors import Overloaded, WorkCut, WorkRefused
from astra_core.keyed import DeadLetter
from tests.contract.keyed.conftest import ATTEMPTS

if TYPE_CHECKING:
    from tests.contract.keyed.conftest import Bench, Gated


class Flaky:
    """Work that fails the first `failures` times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.runs = 0

    async def __call__(self, what: object) -> object:
        """Return `what`, or raise."""
        self.runs += 1
        if self.runs <= self.failures:
            raise ConnectionError(f"try {self.runs}")
        return what


async def test_a_failed_attempt_is_followed_by_another(bench: Bench) -> None:
    """Work that fails twice and then succeeds gives its result, and what came after it has waited for that."""
    flaky = Flaky(ATTEMPTS - 1)
    first = asyncio.create_task(bench.executor.submit("k", flaky, "first"))
    behind = asyncio.create_task(bench.executor.submit("k", lambda: flaky.runs))
    assert (await first, await behind) == ("first", ATTEMPTS)
    assert (flaky.runs, bench.letters) == (ATTEMPTS, [])


async def test_work_that_keeps_failing_is_given_up_and_its_key_goes_on(bench: Bench) -> None:
    """The last error goes to the caller and, with all that is needed to try again, to the dead letters."""
    poison = Flaky(100)
    with pytest.raises(ConnectionError, match="try 3") as caught:
        await bench.executor.submit("k", poison, "x")
    assert await bench.executor.submit("k", abs, -1) == 1
    assert bench.letters == [DeadLetter("k", poison, ("x",), caught.value, ATTEMPTS)]


async def test_posted_work_that_fails_is_a_dead_letter(bench: Bench) -> None:
    """Nobody waits for it, so the dead letters alone have its error; what was posted behind it runs."""
    poison, noted = Flaky(100), list[int]()
    bench.executor.post("k", poison, "x")
    bench.executor.post("k", noted.append, 1)
    await bench.until(lambda: noted == [1])
    assert [(letter.key, letter.attempts) for letter in bench.letters] == [("k", ATTEMPTS)]


async def test_a_cancelled_caller_takes_back_what_has_not_begun(bench: Bench, gated: Gated) -> None:
    """Work that still waits is dropped with its caller; what is before and behind it is not."""
    calls = [asyncio.create_task(bench.executor.submit("k", gated, number)) for number in range(3)]
    await bench.until(lambda: gated.begun == [0])
    calls[1].cancel()
    gated.go.set()
    assert await calls[2] == 2
    assert calls[1].cancelled()
    assert gated.ended == [0, 2]


async def test_work_that_cancels_itself_frees_its_key(bench: Bench) -> None:
    """A cancellation out of the work is that of its caller, no failure, and the next work of the key runs."""

    async def torn() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await bench.executor.submit("k", torn)
    assert await bench.executor.submit("k", abs, -1) == 1
    assert bench.letters == []


async def test_closing_lets_end_what_was_accepted(bench: Bench, gated: Gated) -> None:
    """Work under way and waiting ends, what it submits itself included; new work is refused as overload is."""

    async def parent() -> object:
        await gated.go.wait()
        return await bench.executor.submit("child", gated, "child")

    calls = [asyncio.create_task(bench.executor.submit("k", gated, number)) for number in range(2)]
    calls.append(asyncio.create_task(bench.executor.submit("parent", parent)))
    await bench.until(lambda: gated.begun == [0])
    closing = asyncio.create_task(bench.executor.close(timeout=60.0))
    await asyncio.sleep(0)
    with pytest.raises(WorkRefused, match="closed") as caught:
        await bench.executor.submit("k", abs, -1)
    assert isinstance(caught.value, Overloaded)
    assert (caught.value.key, caught.value.reason) == ("k", "closed")
    with pytest.raises(WorkRefused):
        bench.executor.post("k", abs, -1)
    gated.go.set()
    assert await asyncio.gather(*calls) == [0, 1, "child"]
    assert await closing == 0


async def test_what_has_not_ended_in_time_is_cut(bench: Bench, gated: Gated) -> None:
    """At the deadline who waits for begun work gets `WorkCut`, for other `WorkRefused`, and all are counted."""
    calls = [asyncio.create_task(bench.executor.submit("k", gated, number)) for number in range(3)]
    await bench.until(lambda: gated.begun == [0])
    bench.executor.post("other", gated, "posted")
    await bench.until(lambda: gated.begun == [0, "posted"])
    closing = asyncio.create_task(bench.executor.close(timeout=5.0))
    await bench.clock.run_for(4.9)
    assert not closing.done()
    await bench.clock.run_for(0.2)
    assert await asyncio.wait_for(closing, timeout=30) == 4
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in errors] == [WorkCut, WorkRefused, WorkRefused]
    assert gated.ended == []
    assert bench.letters == []


async def test_nothing_begins_once_the_rest_is_cut(bench: Bench, gated: Gated) -> None:
    """Work begun by the end of what was cut before it is cut as well, and an executor that was cut is at rest."""
    bench.executor.post("k", gated, 1)
    bench.executor.post("k", gated, 2)
    assert await asyncio.wait_for(bench.executor.close(timeout=0.0), timeout=30) == 2
    gated.go.set()
    await asyncio.sleep(0.005)
    assert gated.ended == []
    assert await bench.executor.close(timeout=5.0) == 0


async def test_closing_twice_is_closing_once(bench: Bench) -> None:
    """An executor at rest closes at once, and again."""
    assert await bench.executor.submit("k", abs, -1) == 1
    assert await bench.executor.close(timeout=5.0) == 0
    assert await bench.executor.close(timeout=5.0) == 0
