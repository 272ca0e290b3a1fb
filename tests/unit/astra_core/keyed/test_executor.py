"""Work by key on the event loop: bounds, turns, cancellation, pauses, dead letters, figures."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.errors import Overloaded, WorkCut, WorkRefused
from astra_core.events import ExecutorClosed, RetryScheduled, TaskDeadLettered, TaskRejected
from astra_core.keyed import BlockingPool, KeyedExecutor, doubling
from astra_core.keyed.mailbox import Job, Mailbox
from astra_core.testing import FakeClock
from loadtests.keyed_cost import slow_key_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from astra_core.keyed import DeadLetter

CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


class Gates:
    """Work that ends, or fails, when its gate is opened."""

    def __init__(self) -> None:
        self.inside: list[Hashable] = []
        self.most = 0
        self.begun: list[Hashable] = []
        self.ended: list[Hashable] = []
        self._gates: dict[Hashable, asyncio.Event] = {}
        self.open_all = False

    async def __call__(self, what: Hashable) -> Hashable:
        """Wait until `what` is let go and return it."""
        self.begun.append(what)
        self.inside.append(what)
        self.most = max(self.most, len(self.inside))
        try:
            if not self.open_all:
                await self._gates.setdefault(what, asyncio.Event()).wait()
        finally:
            self.inside.remove(what)
        self.ended.append(what)
        return what

    def open(self, *whats: Hashable) -> None:
        """Let these go."""
        for what in whats:
            self._gates.setdefault(what, asyncio.Event()).set()


async def turns(count: int = 10) -> None:
    """Let every ready task run."""
    for _ in range(count):
        await asyncio.sleep(0)


def start(
    executor: KeyedExecutor, work: Callable[..., Any], *pairs: tuple[Hashable, Hashable]
) -> list[asyncio.Task[Any]]:
    """Submit `work(what)` for each (key, what), in order."""
    return [asyncio.create_task(executor.submit(key, work, what)) for key, what in pairs]


async def test_a_key_has_a_bounded_mailbox() -> None:
    """One runs and two wait; the next of that key is refused with the key and the bound, another key is not."""
    gates, heard = Gates(), list[object]()
    executor = KeyedExecutor("links", mailbox=2, listeners=heard.append)
    calls = start(executor, gates, *(("k", number) for number in range(3)))
    await turns()
    with pytest.raises(WorkRefused, match="mailbox of 'k' in links is full \\(2 waiting\\)") as caught:
        await executor.submit("k", gates, 3)
    assert isinstance(caught.value, Overloaded)
    assert (caught.value.executor, caught.value.key, caught.value.reason) == ("links", "k", "mailbox")
    assert (caught.value.limit, caught.value.retry_after) == (2, 1.0)
    assert await executor.submit("other", abs, -1) == 1
    assert heard == [TaskRejected("links", "mailbox", 2)]
    assert (executor.running, executor.waiting, executor.keys, executor.rejected) == (1, 2, 1, 1)
    gates.open(0, 1, 2)
    assert await asyncio.gather(*calls) == [0, 1, 2]
    assert (executor.running, executor.waiting, executor.keys, executor.completed) == (0, 0, 0, 4)


async def test_all_that_waits_is_bounded_too() -> None:
    """Two keys with one waiting each fill a queue of two; what could begin at once is still taken."""
    executor, gates = KeyedExecutor("links", queue=2), Gates()
    calls = start(executor, gates, ("a", 0), ("b", 1), ("a", 2), ("b", 3))
    await turns()
    with pytest.raises(WorkRefused, match="queue of links is full \\(2 waiting\\)") as caught:
        await executor.submit("a", gates, 4)
    assert caught.value.reason == "queue"
    assert await executor.submit("c", abs, -1) == 1
    gates.open(*range(4))
    assert await asyncio.gather(*calls) == [0, 1, 2, 3]


async def test_so_many_keys_run_at_once() -> None:
    """With two permits the third key waits, also where its mailbox is empty; without room to wait it is refused."""
    executor, gates = KeyedExecutor("links", concurrency=2, queue=1), Gates()
    calls = start(executor, gates, ("a", 0), ("b", 1), ("c", 2))
    await turns()
    assert gates.begun == [0, 1]
    with pytest.raises(WorkRefused):
        await executor.submit("d", gates, 3)
    gates.open(0, 1, 2)
    assert await asyncio.gather(*calls) == [0, 1, 2]
    assert gates.most == 2


async def test_keys_take_turns() -> None:
    """A key with much work has one turn and then lets the others have theirs."""
    executor, gates = KeyedExecutor("links", concurrency=1), Gates()
    gates.open_all = True
    await asyncio.gather(*start(executor, gates, ("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1")))
    assert gates.begun == ["a1", "b1", "c1", "a2", "a3"]


async def test_work_that_waits_for_work_lends_its_permit() -> None:
    """With one permit in all a chain of keys ends, and never do two of its links compute at once."""
    executor, computing = KeyedExecutor("links", concurrency=1, queue=8), list[int]()

    async def link(level: int) -> int:
        computing.append(level)
        await asyncio.sleep(0)
        assert computing.pop() == level
        assert not computing
        below = await executor.submit(level + 1, link, level + 1) if level < 5 else 0
        computing.append(level)
        await asyncio.sleep(0)
        assert computing.pop() == level
        assert not computing
        return below + 1

    both = asyncio.gather(executor.submit(0, link, 0), executor.submit(99, link, 5))
    assert list(await asyncio.wait_for(both, timeout=30)) == [6, 1]
    assert executor._turns.free == 1


async def test_lent_permits_come_back_however_the_wait_ends() -> None:
    """A wait that is cancelled, or abandoned by work that ends first, leaves as many permits as there were."""
    executor, gates = KeyedExecutor("links", concurrency=2), Gates()

    async def gives_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await executor.submit("slow", gates, 1)

    async def walks_away() -> None:
        kept.append(asyncio.create_task(executor.submit("slow", gates, 2)))
        await asyncio.sleep(0)

    kept: list[asyncio.Task[Any]] = []
    await executor.submit("a", gives_up)
    await executor.submit("b", walks_away)
    gates.open(1, 2)
    assert await asyncio.gather(*kept) == [2]
    assert (executor._turns.free, executor.running, executor.keys) == (2, 0, 0)


async def test_a_lent_permit_may_empty_the_mailbox_that_work_is_put_into() -> None:
    """Where the one who waited there was cancelled in this very turn; work of the key still runs one at a time."""
    executor, gates = KeyedExecutor("links", concurrency=2), Gates()

    async def parent() -> None:
        victim.cancel()
        await executor.submit("k", gates, "nested")

    calls = start(executor, gates, ("other", "other"))
    calls.append(asyncio.create_task(executor.submit("parent", parent)))
    victim = asyncio.create_task(executor.submit("k", gates, "cancelled"))
    await turns()
    gates.open("other")
    calls += start(executor, gates, ("k", "later"))
    await turns()
    assert gates.inside == ["nested"]
    gates.open("nested", "later")
    assert await asyncio.wait_for(asyncio.gather(*calls), timeout=10) == ["other", None, "later"]
    assert (executor._turns.free, executor.running, executor.waiting, executor.keys) == (2, 0, 0, 0)


async def test_work_that_began_outlives_its_caller() -> None:
    """A cancelled caller leaves begun work to its end, holding its key; in a pool as well."""
    executor, gates = KeyedExecutor("links"), Gates()
    first, second = start(executor, gates, ("k", 1), ("k", 2))
    await turns()
    first.cancel()
    await turns()
    assert first.cancelled()
    assert gates.begun == [1]
    gates.open(1, 2)
    assert await second == 2
    assert gates.ended == [1, 2]


async def test_work_in_a_thread_outlives_its_caller() -> None:
    """The key of a call that a thread began is free only when the thread has ended it."""
    pool = BlockingPool("threads", threads=2, queue=0)
    executor, order = KeyedExecutor("links", pool=pool), list[str]()
    loop, begun, go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def blocking() -> None:
        loop.call_soon_threadsafe(begun.set)
        go.wait(30)
        order.append("first")

    call = asyncio.create_task(executor.submit("k", blocking))
    await begun.wait()
    call.cancel()
    behind = asyncio.create_task(executor.submit("k", order.append, "second"))
    await asyncio.sleep(0.01)
    go.set()
    await behind
    assert order == ["first", "second"]
    assert executor.concurrency == 2
    await pool.close()


async def test_thousands_may_leave_in_one_turn() -> None:
    """Callers of many keys, all cancelled in the turn in which a permit comes, leave nothing behind."""
    executor, gates = KeyedExecutor("links", concurrency=1), Gates()
    calls = start(executor, gates, ("k", 0), *((number, number) for number in range(1, 3_000)))
    await turns()
    assert (executor.waiting, executor.keys) == (2_999, 3_000)
    gates.open(0)
    for call in calls:
        call.cancel()
    await turns()
    assert (executor.running, executor.waiting, executor.keys, gates.begun) == (0, 0, 0, [0])


async def test_a_pause_holds_the_key_and_no_permit() -> None:
    """After each failure the key waits for what `backoff` says, and others run meanwhile; listeners hear of it."""
    clock, heard, tries = FakeClock(), list[object](), list[float]()
    executor = KeyedExecutor("links", concurrency=1, attempts=3, clock=clock, listeners=heard.append)

    async def fails() -> float:
        tries.append(clock.monotonic() - 1_000.0)
        if len(tries) < 3:
            raise ConnectionError
        return tries[-1]

    call = asyncio.create_task(executor.submit("k", fails))
    behind = asyncio.create_task(executor.submit("k", abs, -1))
    await turns()
    assert await executor.submit("other", abs, -2) == 2
    assert not behind.done()
    assert (executor.running, executor.waiting) == (1, 1)
    await clock.run_for(0.049)
    assert tries == [0.0]
    await clock.run_for(1.0)
    assert tries == [0.0, pytest.approx(0.05), pytest.approx(0.15)]
    assert (await call, await behind) == (tries[2], 1)
    scheduled = [
        RetryScheduled("links", 1, 0.05, "ConnectionError"),
        RetryScheduled("links", 2, 0.1, "ConnectionError"),
    ]
    assert heard == scheduled
    assert executor._turns.free == 1


async def test_work_that_paused_waits_for_a_permit() -> None:
    """When its pause is over and all permits are taken, it goes on when one is free."""
    clock, gates, tries = FakeClock(), Gates(), list[int]()
    executor = KeyedExecutor("links", concurrency=1, attempts=2, clock=clock)

    def fails_once() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError
        return len(gates.inside)

    paused = asyncio.create_task(executor.submit("k", fails_once))
    await turns()
    (other,) = start(executor, gates, ("other", 1))
    await clock.run_for(1.0)
    assert len(tries) == 1
    gates.open(1)
    assert (await other, await paused) == (1, 0)


async def test_an_answer_is_no_failure() -> None:
    """An error that `retry_on` does not count goes to its caller at once; without a caller it is a dead letter."""
    letters: list[DeadLetter] = []
    executor = KeyedExecutor(
        "links", attempts=5, retry_on=lambda error: not isinstance(error, LookupError), dead_letters=letters.append
    )
    with pytest.raises(KeyError):
        await executor.submit("k", {}.__getitem__, "absent")
    assert letters == []
    executor.post("k", {}.__getitem__, "absent")
    assert await executor.submit("k", abs, -1) == 1
    assert [(letter.args, letter.attempts) for letter in letters] == [(("absent",), 1)]
    assert executor.dead_letters == 1


async def test_a_predicate_that_fails_hides_nothing() -> None:
    """Where `retry_on` itself raises, the caller gets that, with the work's error as its context."""

    def broken(error: Exception) -> bool:
        raise RuntimeError("broken")

    executor = KeyedExecutor("links", attempts=5, retry_on=broken, dead_letters=lambda letter: None)
    with pytest.raises(RuntimeError, match="broken") as caught:
        await asyncio.wait_for(executor.submit("k", divmod, 1, 0), timeout=30)
    assert isinstance(caught.value.__context__, ZeroDivisionError)
    assert executor.keys == 0


async def test_a_dead_letter_is_kept_before_its_key_goes_on() -> None:
    """A taker that is a coroutine function is awaited; the caller does not wait for it, the next work does."""
    kept, heard, go = list[str](), list[object](), asyncio.Event()

    async def keep(letter: DeadLetter) -> None:
        await go.wait()
        kept.append(str(letter.key))

    executor = KeyedExecutor("links", dead_letters=keep, listeners=heard.append)
    with pytest.raises(ZeroDivisionError):
        await executor.submit("k", divmod, 1, 0)
    behind = asyncio.create_task(executor.submit("k", kept.copy))
    await turns()
    assert not behind.done()
    go.set()
    assert await behind == ["k"]
    assert heard == [TaskDeadLettered("links", 1, "ZeroDivisionError")]


async def test_a_taker_of_letters_that_fails_blocks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged with the letter, and so is a letter for which there is no taker."""

    def broken(letter: DeadLetter) -> None:
        raise OSError("disk full")

    for taker, message in ((broken, "taker of dead letters failed"), (None, "given up after 1 attempts")):
        caplog.clear()
        executor = KeyedExecutor("links", dead_letters=taker)
        executor.post("k", divmod, 1, 0)
        with caplog.at_level(logging.ERROR, "astra.keyed"):
            assert await executor.submit("k", abs, -1) == 1
        assert message in caplog.text
        assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("offset", range(8))
async def test_a_cut_in_any_turn_leaves_nothing(offset: int) -> None:
    """However the end of one piece and the start of the next lie to the deadline, all is told and counted once."""
    clock, gates, heard = FakeClock(), Gates(), list[object]()
    executor = KeyedExecutor("links", clock=clock, listeners=heard.append)
    calls = start(executor, gates, ("k", 1), ("k", 2), ("k", 3))
    closing = asyncio.create_task(executor.close(timeout=5.0))
    await turns()
    gates.open(1)
    if offset % 2:
        clock.advance(5.0)
        await turns(offset // 2)
    else:
        await turns(offset // 2)
        clock.advance(5.0)
    results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), timeout=30)
    cut = await closing
    assert cut == sum(isinstance(result, WorkCut | WorkRefused) for result in results)
    assert 2 not in gates.ended
    assert heard == [ExecutorClosed("links", cut)]
    assert (executor.running, executor.waiting, executor.keys, gates.inside) == (0, 0, 0, [])
    assert executor._turns.free == executor.concurrency


async def test_a_pause_is_cut_too() -> None:
    """Work that pauses, or waits for its permit after that, ends at the deadline; its caller is told."""
    for backoff in (lambda _: 9.0, lambda _: 1.0):
        clock, gates = FakeClock(), Gates()
        executor = KeyedExecutor("links", concurrency=1, attempts=2, backoff=backoff, clock=clock)
        paused = asyncio.create_task(executor.submit("k", divmod, 1, 0))
        await turns()
        executor.post("other", gates, 1)
        closing = asyncio.create_task(executor.close(timeout=5.0))
        await clock.run_for(6.0)
        assert await closing == 2
        with pytest.raises(WorkCut, match="'k'"):
            await paused
        assert (executor._turns.free, len(executor._turns), executor.keys) == (1, 0, 0)


async def test_work_that_swallows_its_cancellation_is_left_behind() -> None:
    """Closing ends a second after the cut all the same, and the caller was told at the cut."""
    clock, go = FakeClock(), asyncio.Event()
    executor = KeyedExecutor("links", clock=clock)

    async def stubborn() -> None:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    call = asyncio.create_task(executor.submit("k", stubborn))
    closing = asyncio.create_task(executor.close(timeout=5.0))
    await clock.run_for(5.5)
    assert isinstance(call.exception(), WorkCut)
    await clock.run_for(1.0)
    assert await closing == 1
    go.set()
    await turns()
    assert executor.keys == 0


async def test_work_runs_in_the_context_of_its_caller() -> None:
    """What the caller set is seen by its work, waiting or not, in a thread too; what work sets stays with it."""
    pool = BlockingPool("threads", threads=1, queue=0)
    for executor in (KeyedExecutor("links"), KeyedExecutor("links", pool=pool)):

        async def call(name: str, executor: KeyedExecutor = executor) -> str:
            CALLER.set(name)
            return await executor.submit("k", CALLER.get)

        executor.post("k", CALLER.set, "work")
        assert list(await asyncio.gather(call("ann"), call("bob"))) == ["ann", "bob"]
        assert CALLER.get() == "nobody"
    await pool.close()


async def test_keys_without_work_take_no_memory() -> None:
    """After a hundred thousand keys nothing of them is left."""
    executor = KeyedExecutor("links", queue=1_000)
    for number in range(0, 100_000, 100):
        for key in range(number, number + 99):
            executor.post(key, int)
        await executor.submit(number + 99, int)
    await turns()
    assert (executor.completed, executor.keys, len(executor._boxes)) == (100_000, 0, 0)
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) in (Job, Mailbox)]


async def test_one_slow_key_does_not_delay_the_others() -> None:
    """The others' p99 beside it stays within three times that without it; on shared queues it does not."""
    assert await slow_key_ratio(pairs=5, keys=50, seconds=0.1, work=0.002) <= 3.0
    assert await slow_key_ratio(pairs=1, keys=50, seconds=0.5, work=0.002, queues=4) > 3.0


async def test_figures_are_shown() -> None:
    """The `repr` holds the name, the figures, and whether it is closed."""
    executor = KeyedExecutor("links")
    await executor.submit("k", int)
    figures = "running=0, waiting=0, keys=0, completed=1, rejected=0, dead_letters=0"
    assert repr(executor) == f"KeyedExecutor('links', {figures})"
    await executor.close(timeout=1.0)
    assert repr(executor) == f"KeyedExecutor('links', {figures}, closed)"


def test_pauses_double() -> None:
    """Without another wish the pauses are 50 ms, then twice that each time, and at most a second."""
    assert [doubling(attempt) for attempt in range(1, 8)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


@pytest.mark.parametrize("knobs", [{"concurrency": 0}, {"mailbox": -1}, {"queue": -1}, {"attempts": 0}])
def test_knobs_that_make_no_executor_are_refused(knobs: dict[str, int]) -> None:
    """No permits, no attempt, or a negative bound."""
    with pytest.raises(ValueError, match="executor"):
        KeyedExecutor("links", **knobs)  # type: ignore[arg-type]
