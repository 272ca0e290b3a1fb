"""What every executor promises of one key and of many."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from astra_core.errors import Reentered
from astra_core.resilience import Deadlines, Sweep, current_deadline

if TYPE_CHECKING:
    from tests.contract.keyed.conftest import Bench, Gated


async def add(one: int, two: int) -> int:
    """Return the sum, a turn of the loop later."""
    await asyncio.sleep(0)
    return one + two


async def test_coroutine_functions_and_plain_ones_give_their_results(bench: Bench) -> None:
    """What the call returns comes back, awaited where it can be, and so does an error that it raises."""
    assert await bench.executor.submit("k", add, 1, 2) == 3
    assert await bench.executor.submit("k", divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await bench.executor.submit("k", divmod, 1, 0)


async def test_a_stop_iteration_is_an_error_like_any_other(bench: Bench) -> None:
    """The one exception that no future can hold reaches the caller in a form that it can, and the key goes on."""
    with pytest.raises(RuntimeError, match="StopIteration"):
        await bench.executor.submit("k", next, iter(()))
    assert await bench.executor.submit("k", add, 1, 2) == 3


async def test_one_key_runs_one_at_a_time_and_in_order(bench: Bench, gated: Gated) -> None:
    """The second and third begin when what was before them has ended, in the order of their callers."""
    calls = [asyncio.create_task(bench.executor.submit("k", gated, number)) for number in range(3)]
    await bench.until(lambda: gated.begun == [0])
    await asyncio.sleep(0.005)
    assert gated.begun == [0]
    gated.go.set()
    assert await asyncio.gather(*calls) == [0, 1, 2]
    assert gated.begun == gated.ended == [0, 1, 2]


async def test_keys_run_beside_each_other(bench: Bench, gated: Gated) -> None:
    """Work of a second key begins and ends while that of the first is under way."""
    slow = asyncio.create_task(bench.executor.submit("slow", gated, 1))
    await bench.until(lambda: gated.begun == [1])
    assert await bench.executor.submit("quick", add, 1, 2) == 3
    gated.go.set()
    assert await slow == 1


async def test_sixteen_producers_see_no_inversion(bench: Bench) -> None:
    """What each producer hands over for a key, awaited or posted, arrives in its order, never two of a key at once."""
    chance, seen, inside = random.Random(7), dict[int, list[tuple[int, int]]](), set[int]()

    async def take(key: int, producer: int, number: int) -> None:
        assert key not in inside
        inside.add(key)
        for _ in range(number % 3):
            await asyncio.sleep(0)
        inside.remove(key)
        seen.setdefault(key, []).append((producer, number))

    async def produce(producer: int) -> None:
        for number in range(20):
            if chance.random() < 0.3:
                bench.executor.post(number % 5, take, number % 5, producer, number)
            else:
                await bench.executor.submit(number % 5, take, number % 5, producer, number)

    await asyncio.gather(*map(produce, range(16)))
    await bench.executor.close(timeout=60.0)
    assert sum(map(len, seen.values())) == 320
    for arrived in seen.values():
        for producer in range(16):
            own = [number for who, number in arrived if who == producer]
            assert own == sorted(own)
    assert bench.letters == []


async def test_work_may_wait_for_work_of_another_key(bench: Bench) -> None:
    """A chain over fifty keys ends, though each waits for the next."""

    async def down(level: int) -> int:
        return 0 if level == 50 else 1 + await bench.executor.submit(level + 1, down, level + 1)

    assert await bench.executor.submit(0, down, 0) == 50


async def test_work_that_would_wait_for_itself_is_told(bench: Bench) -> None:
    """Waiting for one's own key raises `Reentered`, naming it; posting to it does not, and runs afterwards."""
    noted: list[str] = []

    async def outer() -> str:
        bench.executor.post("k", noted.append, "posted")
        with pytest.raises(Reentered, match="'k' -> 'k'") as caught:
            await bench.executor.submit("k", add, 1, 2)
        assert (caught.value.key, caught.value.path) == ("k", ("k", "k"))
        noted.append("outer")
        return "done"

    assert await bench.executor.submit("k", outer) == "done"
    await bench.until(lambda: noted == ["outer", "posted"])


async def test_a_cycle_over_other_keys_is_told(bench: Bench) -> None:
    """a waits for b, which waits for c, which must not wait for a."""

    async def third() -> None:
        await bench.executor.submit("a", add, 1, 2)

    async def second() -> None:
        await bench.executor.submit("c", third)

    async def first() -> tuple[object, ...]:
        with pytest.raises(Reentered) as caught:
            await bench.executor.submit("b", second)
        return caught.value.path

    assert await bench.executor.submit("a", first) == ("c", "a", "b", "c")


async def test_two_keys_that_wait_for_each_other_are_told(bench: Bench) -> None:
    """The cycle is found as well where neither came out of the other: the later of the two submissions is refused."""
    both, paths = asyncio.Barrier(2), list[object]()

    async def work(other: str) -> None:
        await both.wait()
        try:
            await bench.executor.submit(other, add, 1, 2)
        except Reentered as error:
            paths.append(error.path)

    await asyncio.wait_for(
        asyncio.gather(bench.executor.submit("a", work, "b"), bench.executor.submit("b", work, "a")), timeout=30
    )
    assert paths in ([("b", "a", "b")], [("a", "b", "a")])


async def test_a_task_that_outlives_its_work_may_submit_to_its_key(bench: Bench) -> None:
    """What the work left running is no part of it any more once the work has ended."""
    go, left = asyncio.Event(), list["asyncio.Task[int]"]()

    async def later() -> int:
        await go.wait()
        return await bench.executor.submit("k", add, 1, 2)

    async def leave_behind() -> None:
        left.append(asyncio.create_task(later()))

    await bench.executor.submit("k", leave_behind)
    go.set()
    assert await asyncio.wait_for(left[0], timeout=30) == 3


async def test_the_deadline_of_who_posts_is_not_that_of_the_work(bench: Bench) -> None:
    """What is posted outlives its caller; what is submitted is waited for, under the caller's deadline."""
    seen, deadlines = list[object](), Deadlines("request", sweep=Sweep())
    async with deadlines.scope() as deadline:
        bench.executor.post("k", lambda: seen.append(current_deadline()))
        await bench.executor.submit("k", lambda: seen.append(current_deadline()))
        assert current_deadline() is deadline
    assert seen == [None, deadline]


async def test_a_wait_that_was_given_up_is_no_wait(bench: Bench, gated: Gated) -> None:
    """When a gave up waiting for b, what waits for b's turn may wait for a."""
    seen: list[int] = []

    async def impatient() -> int:
        waiting = asyncio.create_task(bench.executor.submit("b", back))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        gated.go.set()
        return 1

    async def back() -> None:
        seen.append(await bench.executor.submit("a", add, 1, 2))

    blocker = asyncio.create_task(bench.executor.submit("b", gated, 0))
    await bench.until(lambda: gated.begun == [0])
    assert await bench.executor.submit("a", impatient) == 1
    assert await blocker == 0
    await bench.executor.submit("b", back)
    assert seen == [3]
