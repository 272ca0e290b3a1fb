"""The bounded pool: bounds, deadlines, threads of its own, and leaving."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import astra_core
from astra_core.errors import Overloaded
from astra_core.events import PoolWaited
from astra_core.keyed import BlockingPool
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

ROOT = Path(astra_core.__file__).parents[1]


async def until(condition: object, *, tries: int = 2000) -> None:
    """Poll until `condition()` holds."""
    for _ in range(tries):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came true")


async def test_a_call_runs_in_a_thread_of_the_pool() -> None:
    """Results and exceptions come back; no thread is started before the first call, nor more than are used."""
    pool = BlockingPool("db", threads=3, queue=5)
    before = threading.active_count()
    assert (await pool.run(lambda: threading.current_thread().name)).startswith("db-")
    assert await pool.run(int, "12") == 12
    assert threading.active_count() == before + 1
    with pytest.raises(ZeroDivisionError):
        await pool.run(divmod, 1, 0)
    await pool.close()
    assert threading.active_count() == before


async def test_a_stop_iteration_reaches_the_caller() -> None:
    """The exception that no future can hold comes as the `RuntimeError` that a coroutine would make of it."""
    pool = BlockingPool("db", threads=1, queue=5)
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await pool.run(next, iter(()), deadline=30.0)
    assert isinstance(caught.value.__cause__, StopIteration)
    await pool.close()


async def test_one_more_than_threads_and_queue_is_refused() -> None:
    """Two threads and one place: the fourth call is `Overloaded`, and there is room again afterwards."""
    pool, gate = BlockingPool("db", threads=2, queue=1), threading.Event()
    calls = [asyncio.create_task(pool.run(gate.wait)) for _ in range(3)]
    await until(lambda: (pool.in_use, pool.waiting) == (2, 1))
    with pytest.raises(Overloaded, match="db"):
        await pool.run(gate.wait)
    gate.set()
    assert await asyncio.gather(*calls) == [True] * 3
    assert (pool.in_use, pool.waiting) == (0, 0)
    assert await pool.run(gate.wait) is True
    await pool.close()


@contextmanager
def no_threads() -> Iterator[None]:
    """No thread can be started: there is no room for so large a stack."""
    before = threading.stack_size(2**48)
    try:
        yield
    finally:
        threading.stack_size(before)


async def test_a_thread_that_cannot_be_started_is_tried_again() -> None:
    """Without any thread the call is refused and nothing is left of it; with one, that does the work meanwhile."""
    pool, gate = BlockingPool("db", threads=2, queue=1), threading.Event()
    with no_threads(), pytest.raises(Overloaded, match="db can start no thread"):
        await pool.run(int)
    assert (pool.threads, pool.in_use, pool.waiting) == (0, 0, 0)
    calls = [asyncio.create_task(pool.run(gate.wait))]
    await until(lambda: pool.in_use == 1)
    with no_threads():
        calls.append(asyncio.create_task(pool.run(gate.wait)))
        await until(lambda: pool.waiting == 1)
    assert pool.threads == 1
    calls.append(asyncio.create_task(pool.run(gate.wait)))
    await until(lambda: (pool.threads, pool.in_use, pool.waiting) == (2, 2, 1))
    gate.set()
    assert await asyncio.gather(*calls) == [True] * 3
    await pool.close()


async def test_listeners_hear_how_long_a_call_waited() -> None:
    """Each call that ended is told with the pool's name; the one that found no free thread has waited."""
    clock, heard = FakeClock(), list[object]()
    pool, gate = BlockingPool("db", threads=1, queue=5, clock=clock, listeners=heard.append), threading.Event()
    first = asyncio.create_task(pool.run(gate.wait))
    await until(lambda: pool.in_use == 1)
    second = asyncio.create_task(pool.run(gate.wait))
    await until(lambda: pool.waiting == 1)
    assert (pool.size, pool.threads) == (1, 1)
    clock.advance(3.0)
    gate.set()
    await asyncio.gather(first, second)
    assert heard == [PoolWaited("db", 0.0), PoolWaited("db", 3.0)]
    await pool.close()


async def test_a_deadline_frees_the_caller_and_not_the_thread() -> None:
    """A call that runs goes on after its deadline; one that only waited is never begun."""
    pool, gate = BlockingPool("db", threads=1, queue=5), threading.Event()
    begun: list[int] = []
    running = asyncio.create_task(pool.run(gate.wait, deadline=0.02))
    waiting = asyncio.create_task(pool.run(begun.append, 1, deadline=0.02))
    done = await asyncio.gather(running, waiting, return_exceptions=True)
    assert [type(result) for result in done] == [TimeoutError, TimeoutError]
    assert pool.in_use == 1
    gate.set()
    await pool.close()
    assert begun == []
    assert pool.in_use == 0


async def test_a_coroutine_that_nobody_awaits_is_closed() -> None:
    """Made for a caller that was cancelled, before its result came or in the very turn in which it came."""
    pool, gate = BlockingPool("db", threads=1, queue=1), threading.Event()
    made: list[Coroutine[object, object, None]] = []

    async def nothing() -> None: ...

    def make() -> Coroutine[object, object, None]:
        gate.wait()
        made.append(nothing())
        return made[-1]

    early = asyncio.create_task(pool.run(make))
    await until(lambda: pool.in_use == 1)
    early.cancel()
    gate.set()
    await until(lambda: pool.in_use == 0)
    late = asyncio.create_task(pool.run(make))
    while len(made) < 2:
        await asyncio.sleep(0)
        time.sleep(0.001)  # noqa: ASYNC251 - the loop must not turn
    time.sleep(0.01)  # noqa: ASYNC251 - the result waits in the loop now, and the cancellation comes in the same turn
    asyncio.get_running_loop().call_soon(late.cancel)
    for caller in (early, late):
        with pytest.raises(asyncio.CancelledError):
            _ = await caller
    assert [inspect.getcoroutinestate(each) for each in made] == [inspect.CORO_CLOSED] * 2
    await pool.close()


async def test_the_longest_wait_is_kept() -> None:
    """`max_wait` is how long a call stood in the queue, by the pool's clock."""
    clock = FakeClock()
    pool, gate = BlockingPool("db", threads=1, queue=5, clock=clock), threading.Event()
    first = asyncio.create_task(pool.run(gate.wait))
    await until(lambda: pool.in_use == 1 and not pool.waiting)
    second = asyncio.create_task(pool.run(int))
    await until(lambda: pool.waiting == 1)
    clock.advance(3.0)
    gate.set()
    await asyncio.gather(first, second)
    assert pool.max_wait == 3.0
    await pool.close()


async def test_closing_lets_what_was_accepted_end() -> None:
    """Calls under way and waiting are finished, and then none is taken."""
    pool, gate = BlockingPool("db", threads=1, queue=5), threading.Event()
    calls = [asyncio.create_task(pool.run(gate.wait)) for _ in range(3)]
    await until(lambda: pool.waiting == 2)
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="closed"):
        await pool.run(int)
    gate.set()
    await closing
    assert [call.result() for call in calls] == [True] * 3


def test_a_pool_that_was_never_closed_does_not_hold_the_interpreter() -> None:
    """A program that ends without closing its pool ends."""
    program = (
        "import asyncio\n"
        "from astra_core.keyed import BlockingPool\n"
        "pool = BlockingPool('p', threads=2, queue=1)\n"
        "print(asyncio.run(pool.run(int, '7')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], timeout=60, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "7\n"


@pytest.mark.parametrize(("threads", "queue"), [(0, 1), (1, -1)])
def test_a_pool_needs_a_thread(threads: int, queue: int) -> None:
    """Bounds that make no pool are refused when it is built."""
    with pytest.raises(ValueError, match="thread"):
        BlockingPool("db", threads=threads, queue=queue)
