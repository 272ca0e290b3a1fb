"""Deadlines: cutting off, nesting, whose time it was, and the header."""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import ContextVar
from math import inf
from typing import Any

import pytest

from astra_core.detached import detached
from astra_core.errors import AstraError
from astra_core.events.deadline import DeadlineExpired
from astra_core.resilience.deadline import (
    DeadlineExceeded,
    DeadlineParameters,
    Deadlines,
    current_deadline,
    format_deadline,
    mark_not_begun,
    own_deadline_expired,
    parse_deadline,
    remaining,
)
from astra_core.resilience.sweep import Sweep
from astra_core.testing import FakeClock


class World:
    """A clock, a sweep and deadlines of five seconds."""

    def __init__(self, *, floor: float = 0.0) -> None:
        self.clock = FakeClock()
        self.events: list[object] = []
        self.deadlines = Deadlines(
            "work",
            sweep=Sweep(clock=self.clock),
            parameters=DeadlineParameters(budget=5.0, floor=floor),
            listeners=self.events.append,
        )

    async def outcome(self, work: Any, seconds: float) -> Any:
        """What `work`, a coroutine, raised or returned after so much time."""
        task = asyncio.ensure_future(work)
        await self.clock.run_for(seconds)
        assert task.done()
        return task.result() if not (task.cancelled() or task.exception()) else task.exception()


async def test_work_that_outlives_its_deadline_is_cancelled() -> None:
    """The caller gets `DeadlineExceeded`, which is a `TimeoutError` and ours; a listener hears of it."""
    world, cancelled = World(), []

    async def work() -> None:
        try:
            await world.clock.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(world.clock.monotonic())
            raise

    error = await world.outcome(world.deadlines.call(work), 6)
    assert isinstance(error, DeadlineExceeded)
    assert isinstance(error, TimeoutError)
    assert isinstance(error, AstraError)
    assert error.own
    assert cancelled == [1_005.0]
    assert world.events == [DeadlineExpired("work", 5.0, True)]


async def test_work_in_time_is_left_alone() -> None:
    """Its result comes back, nothing stays in the sweep or in the context."""
    world = World()

    async def work(value: int, *, plus: int) -> int:
        assert remaining() == 5.0
        await world.clock.sleep(4.9)
        assert remaining() == pytest.approx(0.1)
        return value + plus

    assert await world.outcome(world.deadlines.call(work, 1, plus=2), 5) == 3
    assert len(world.deadlines.sweep) == 0
    assert current_deadline() is None
    assert remaining() == inf


async def test_a_nested_deadline_only_shrinks() -> None:
    """Sixty seconds inside five are five, and the outer one reports the end; one second inside five is one."""
    world = World()
    seen: list[float] = []

    async def wait() -> None:
        seen.append(remaining())
        await world.clock.sleep(90)

    async def nested(budget: float) -> None:
        async with world.deadlines.scope():
            try:
                async with world.deadlines.scope(budget):
                    await wait()
            except DeadlineExceeded:
                seen.append(remaining())
                raise

    error = await world.outcome(nested(1.0), 10)
    assert isinstance(error, DeadlineExceeded)
    assert error.budget == 1.0
    error = await world.outcome(nested(60.0), 10)
    assert isinstance(error, DeadlineExceeded)
    assert error.budget == 5.0
    assert seen == [1.0, 4.0, 5.0]


async def test_tasks_started_under_a_deadline_see_it() -> None:
    """It travels through the context, and shrinks there as time passes."""
    world = World()

    async def child() -> float:
        await world.clock.sleep(2)
        return remaining()

    async def parent() -> float:
        return await asyncio.create_task(child())

    assert await world.outcome(world.deadlines.call(parent), 3) == 3.0


async def test_work_that_is_not_the_callers_alone_has_no_deadline_of_its() -> None:
    """The rest of the context it keeps, and the caller's deadline stays the caller's."""
    world = World()
    tag: ContextVar[str] = ContextVar("tag")

    async def shared() -> tuple[float, str]:
        return remaining(), tag.get()

    async def caller() -> tuple[float, str, float]:
        tag.set("kept")
        return *await asyncio.create_task(shared(), context=detached()), remaining()

    assert await world.outcome(world.deadlines.call(caller), 0) == (inf, "kept", 5.0)


async def test_nothing_begins_after_the_deadline() -> None:
    """Neither a call nor a scope nor work that checks, even where the cancellation was swallowed."""
    world, begun = World(), []

    async def work() -> None:
        begun.append(True)

    async def stubborn() -> None:
        deadline = current_deadline()
        assert deadline is not None
        try:
            await world.clock.sleep(60)
        except asyncio.CancelledError:
            assert deadline.expired
        for attempt in (lambda: world.deadlines.call(work), lambda: world.deadlines.scope(9).__aenter__()):
            with pytest.raises(DeadlineExceeded):
                await attempt()
        with pytest.raises(DeadlineExceeded):
            deadline.check()

    assert await world.outcome(world.deadlines.call(stubborn), 6) is None
    assert begun == []


async def test_a_cancellation_by_somebody_else_stays_one() -> None:
    """A client that leaves cancels the work; no deadline claims that, not even one that expires in the same turn."""
    world = World()

    async def work() -> None:
        await world.clock.sleep(60)

    alone = asyncio.create_task(world.deadlines.call(work))
    both = asyncio.create_task(world.deadlines.call(work))
    await world.clock.run_for(1)
    alone.cancel()
    await world.clock.run_for(3.9)
    assert alone.cancelled()
    both.cancel()
    for deadline in list(world.deadlines.sweep.entries):
        deadline.expire()
    await world.clock.run_for(0)
    assert both.cancelled()


async def test_a_task_that_met_a_deadline_can_be_cancelled_later() -> None:
    """The cancellation that the deadline caused is taken back, so `asyncio.timeout` and task groups work afterwards."""
    world = World()

    async def work() -> str:
        for how in (world.clock.sleep(60), swallow()):
            try:
                async with world.deadlines.scope(1.0):
                    await how
            except DeadlineExceeded:
                pass
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
        return "alive"

    async def swallow() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await world.clock.sleep(60)

    assert await world.outcome(work(), 3) == "alive"


async def test_the_pair_for_middleware_claims_only_its_own_cancellation() -> None:
    """`enter` and `leave` without a coroutine: `claim` gives the error to answer with, and None for any other."""
    world = World()
    answers: list[object] = []

    async def middleware() -> None:
        deadline = world.deadlines.enter(asked=1.0)
        try:
            await world.clock.sleep(60)
        except asyncio.CancelledError as error:
            answers.extend((deadline.claim(ValueError()), deadline.claim(error), deadline.claim(error)))
        finally:
            world.deadlines.leave(deadline)
        await world.clock.sleep(0.1)
        answers.append("went on")

    await world.outcome(middleware(), 2)
    assert answers[0] is None
    assert isinstance(answers[1], DeadlineExceeded)
    assert answers[2:] == [None, "went on"]


@pytest.mark.parametrize(("asked", "floor", "cut_at"), [(1.0, 0.0, 1.0), (0.001, 0.5, 0.5), (60.0, 0.5, 5.0)])
async def test_a_caller_may_shorten_and_never_lengthen(asked: float, floor: float, cut_at: float) -> None:
    """What the caller asks for is raised to the floor, and our budget is its ceiling."""
    world = World(floor=floor)

    async def work() -> None:
        async with world.deadlines.scope(asked=asked):
            await world.clock.sleep(60)

    started = world.clock.monotonic()
    task = asyncio.create_task(work())
    await world.clock.run_for(cut_at - 0.01)
    assert not task.done()
    await world.clock.run_for(0.03)
    assert task.done()
    error = task.exception()
    assert isinstance(error, DeadlineExceeded)
    assert error.own is (asked > 5)
    assert world.clock.monotonic() - started < cut_at + 0.05


async def test_only_our_own_time_counts_as_our_own() -> None:
    """A shortened deadline that is over says nothing; a budget of ours, inside it or outside, does."""
    world, seen = World(), []

    async def observe() -> None:
        try:
            await world.clock.sleep(60)
        except asyncio.CancelledError:
            seen.append(own_deadline_expired())
            raise

    async def work(budget: float, *, outer: float, asked: float | None) -> None:
        async with world.deadlines.scope(outer, asked=asked), world.deadlines.scope(budget):
            await observe()

    assert not own_deadline_expired()
    await world.outcome(work(1.0, outer=5.0, asked=2.0), 7)
    await world.outcome(work(4.0, outer=5.0, asked=2.0), 7)
    await world.outcome(work(4.0, outer=2.0, asked=None), 7)
    assert seen == [True, False, True]


async def test_a_call_that_waited_in_our_own_queue_was_not_begun() -> None:
    """Such a cancellation is marked, and then an expired deadline of ours is no verdict on the dependency."""
    world, seen = World(), []

    async def work() -> None:
        try:
            try:
                await world.clock.sleep(60)
            except asyncio.CancelledError as error:
                seen.append(own_deadline_expired())
                mark_not_begun(error)
                raise
        except asyncio.CancelledError:
            seen.append(own_deadline_expired())
            raise

    await world.outcome(world.deadlines.call(work), 6)
    assert seen == [True, False]


async def test_a_lifted_deadline_ends_nothing() -> None:
    """Neither the work nor what it calls later; one that has cut the work off still says whose time it was."""
    world = World()
    seen: list[float] = []

    async def stream() -> str:
        deadline = current_deadline()
        assert deadline is not None
        deadline.lift()
        await world.clock.sleep(60)
        seen.extend((remaining(), await world.deadlines.call(asyncio.sleep, 0, 1.0)))
        return "done"

    async def late() -> None:
        deadline = current_deadline()
        assert deadline is not None
        try:
            await world.clock.sleep(60)
        finally:
            deadline.lift()

    assert await world.outcome(world.deadlines.call(stream), 61) == "done"
    assert (seen, len(world.deadlines.sweep)) == ([inf, 1.0], 0)
    error = await world.outcome(world.deadlines.call(late), 6)
    assert isinstance(error, DeadlineExceeded)
    assert error.own


async def test_parameters_are_swapped_while_it_runs() -> None:
    """The next deadline has the new budget, those in force keep theirs."""
    world = World()
    async with world.deadlines.scope() as before:
        world.deadlines.parameters = DeadlineParameters(budget=1.0)
        assert before.remaining() == 5.0
        async with world.deadlines.scope() as after:
            assert after.remaining() == 1.0


def test_the_header_is_whole_milliseconds() -> None:
    """It is rounded down and never negative; what is no such number is no deadline."""
    assert [format_deadline(seconds) for seconds in (1.5, 0.0019, 0.0, -1.0)] == [b"1500", b"1", b"0", b"0"]
    assert parse_deadline(b"1500") == 1.5
    assert parse_deadline(b"0") == 0.0
    for wrong in (b"", b"-5", b"1.5", b"abc", b"+1", b" 1", b"1_0", "١".encode(), b"9" * 10):
        assert parse_deadline(wrong) is None


@pytest.mark.parametrize("knobs", [{"budget": 0.0}, {"floor": -1.0}, {"budget": 1.0, "floor": 2.0}])
def test_knobs_that_make_no_deadline_are_refused(knobs: dict[str, float]) -> None:
    """No time at all, and a floor outside the budget."""
    with pytest.raises(ValueError, match="deadline"):
        DeadlineParameters(**knobs)


def test_deadlines_outlive_their_loop() -> None:
    """One object serves one loop after another."""
    deadlines = Deadlines("work", sweep=Sweep(grain=0.001), parameters=DeadlineParameters(budget=0.01))

    async def work() -> None:
        with pytest.raises(DeadlineExceeded):
            await deadlines.call(asyncio.sleep, 5)

    asyncio.run(work())
    asyncio.run(work())
