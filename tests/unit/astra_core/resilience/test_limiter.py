"""Limiters: the bound, the queue, priorities, and permits that are never lost."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from astra_core.errors import Overloaded
from astra_core.events.limiter import CallRefused, LimitChanged
from astra_core.resilience.deadline import DeadlineExceeded, DeadlineParameters, Deadlines, own_deadline_expired
from astra_core.resilience.limiter import KeyedLimiter, Limiter, LimiterParameters, Priority
from astra_core.resilience.sweep import Sweep
from astra_core.testing import FakeClock

FULL = os.environ.get("ASTRA_TEST_FULL") == "1"


class World:
    """A limiter of two with a queue of two, and calls that end when told."""

    def __init__(self, *, limit: int = 2, queue: int = 2, timeout: float = 0.5, adaptive: Any = None) -> None:
        self.clock = FakeClock()
        self.events: list[object] = []
        self.running: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.sweep = Sweep(clock=self.clock)
        self.limiter = Limiter(
            "store",
            sweep=self.sweep,
            parameters=LimiterParameters(limit=limit, queue=queue, timeout=timeout, retry_after=3.0),
            adaptive=adaptive,
            listeners=self.events.append,
        )

    async def work(self, name: str) -> str:
        """Run until `end`."""
        self.running.append(name)
        gate = self.gates[name] = asyncio.Event()
        await gate.wait()
        self.running.remove(name)
        return name

    async def start(self, names: str, priority: Priority = Priority.NORMAL) -> list[asyncio.Task[str]]:
        """Begin a call for each name."""
        tasks = [asyncio.create_task(self.limiter.call_as(priority, self.work, name)) for name in names]
        await self.clock.run_for(0)
        return tasks

    async def end(self, name: str) -> None:
        """Let the call of that name end."""
        self.gates[name].set()
        await self.clock.run_for(0)


async def test_the_limit_runs_the_queue_waits_and_one_more_is_refused() -> None:
    """Two run, two wait, the fifth is `Overloaded` with the wait it suggests; places are handed on in order."""
    world = World()
    tasks = await world.start("abcde")
    assert world.running == ["a", "b"]
    error = tasks[4].exception()
    assert isinstance(error, Overloaded)
    assert error.retry_after == 3.0
    assert world.events == [CallRefused("store", "full", 2, Priority.NORMAL)]
    await world.end("b")
    assert world.running == ["a", "c"]
    for name in "acd":
        await world.end(name)
    assert [task.result() for task in tasks[:4]] == list("abcd")
    assert (world.limiter.in_use, world.limiter.waiting, len(world.sweep)) == (0, 0, 0)


async def test_a_call_that_waits_too_long_is_refused() -> None:
    """After the timeout it leaves the queue as `Overloaded`, having never begun."""
    world = World(limit=1)
    tasks = await world.start("ab")
    await world.clock.run_for(0.52)
    assert isinstance(tasks[1].exception(), Overloaded)
    assert world.events == [CallRefused("store", "timeout", 1, Priority.NORMAL)]
    await world.end("a")
    assert "b" not in world.gates
    assert world.limiter.in_use == 0


async def test_higher_priorities_are_served_first() -> None:
    """Whatever the order of arrival: critical, then normal, then background, each in order."""
    world = World(limit=1, queue=9)
    await world.start("0")
    await world.start("st", Priority.BACKGROUND)
    await world.start("mn", Priority.NORMAL)
    await world.start("r", Priority.CRITICAL)
    served = []
    for _ in range(6):
        served.append(world.running[0])
        await world.end(world.running[0])
    assert "".join(served) == "0rmnst"


async def test_a_full_queue_gives_its_newest_lowest_place_to_a_higher_priority() -> None:
    """A redirect displaces the newest statistics call; an equal displaces nobody."""
    world = World(limit=1, queue=2)
    await world.start("a")
    (old, new) = await world.start("st", Priority.BACKGROUND)
    (third,) = await world.start("u", Priority.BACKGROUND)
    assert isinstance(third.exception(), Overloaded)
    (critical,) = await world.start("r", Priority.CRITICAL)
    assert isinstance(new.exception(), Overloaded)
    assert not old.done()
    assert world.events[-1] == CallRefused("store", "displaced", 1, Priority.BACKGROUND)
    await world.end("a")
    assert world.running == ["r"]
    assert not critical.done()
    for name in "rs":
        await world.end(name)


async def test_nobody_overtakes_the_queue() -> None:
    """A permit that was just given back is its waiter's: a newcomer that comes first in time does not get it."""
    world = World(limit=1)
    await world.start("ab")
    world.gates["a"].set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not world.limiter.try_acquire()
    await world.clock.run_for(0)
    assert world.running == ["b"]
    await world.end("b")
    assert world.limiter.try_acquire()


async def test_a_caller_that_leaves_takes_no_permit_along() -> None:
    """Cancelled while queued, while running, or in the very turn in which the permit came: all are free again."""
    world = World(limit=1, queue=5)
    running, queued, third, _ = await world.start("abcd")
    queued.cancel()
    await world.clock.run_for(0)
    assert world.limiter.waiting == 2
    running.cancel()
    await asyncio.sleep(0)  # c was handed the permit and did not run yet
    third.cancel()
    await world.clock.run_for(0)
    assert world.running[-1] == "d"
    await world.end("d")
    assert (world.limiter.in_use, world.limiter.waiting, len(world.sweep)) == (0, 0, 0)


async def test_an_expired_deadline_in_the_queue_is_no_verdict_on_the_dependency() -> None:
    """Who stands outside the limiter, as a breaker does, learns that the call was not begun."""
    world = World(limit=1, timeout=60)
    deadlines = Deadlines("d", sweep=world.sweep, parameters=DeadlineParameters(budget=1.0))
    verdicts = []

    async def breaker(name: str) -> None:
        try:
            await world.limiter.call(world.work, name)
        except asyncio.CancelledError:
            verdicts.append((name, own_deadline_expired()))
            raise

    tasks = [asyncio.create_task(deadlines.call(breaker, name)) for name in "ab"]
    await world.clock.run_for(1.1)
    assert all(isinstance(task.exception(), DeadlineExceeded) for task in tasks)
    assert sorted(verdicts) == [("a", True), ("b", False)]


async def test_a_higher_limit_lets_waiters_in_at_once() -> None:
    """Parameters are swapped while it runs; a lower limit lets those that run end first."""
    world = World(limit=1, queue=5)
    await world.start("abc")
    world.limiter.parameters = LimiterParameters(limit=2)
    await world.clock.run_for(0)
    assert world.running == ["a", "b"]
    world.limiter.parameters = LimiterParameters(limit=1)
    await world.end("a")
    assert world.running == ["b"]
    await world.end("b")
    assert world.running == ["c"]
    await world.end("c")


class Told:
    """An adaptive limit that does what the test says, and remembers what it was shown."""

    def __init__(self) -> None:
        self.limit = 1
        self.seen: list[tuple[float, int]] = []

    def observe(self, seconds: float, in_use: int) -> int:
        """Answer as told."""
        self.seen.append((seconds, in_use))
        return self.limit


async def test_an_adaptive_limit_is_shown_successes_and_own_deadlines() -> None:
    """Not failures, which are often quick, nor callers that left; its answer is in force at once."""
    told = Told()
    world = World(adaptive=told)
    deadlines = Deadlines("d", sweep=world.sweep, parameters=DeadlineParameters(budget=2.0))

    async def fail() -> None:
        await world.clock.sleep(0.2)
        raise ZeroDivisionError

    for work, leave_after in (
        (world.limiter.call(world.clock.sleep, 0.25), None),
        (world.limiter.call(fail), None),
        (deadlines.call(world.limiter.call, world.clock.sleep, 60), None),
        (world.limiter.call(world.clock.sleep, 60), 1.0),
    ):
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        await world.clock.run_for(leave_after or 3.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert told.seen == [(0.25, 1), (2.0, 1)]
    told.limit = 2
    await world.start("abc")
    assert world.running == ["a"]
    await world.end("a")
    assert world.running == ["b", "c"]
    assert world.events == [LimitChanged("store", 1, 2)]
    for name in "bc":
        await world.end(name)


async def test_a_key_has_its_own_bound() -> None:
    """One connection's calls are bounded without hurting another's, and a key without calls takes no room."""
    events: list[object] = []
    limiter = KeyedLimiter("connection", limit=2, listeners=events.append)
    one, other = ("192.0.2.1", 4000), ("192.0.2.1", 4001)
    assert [limiter.try_acquire(one) for _ in range(3)] == [True, True, False]
    assert limiter.try_acquire(other)
    assert events == [CallRefused("connection", "key", 2)]
    limiter.release(one)
    assert limiter.try_acquire(one)
    for key in (one, one, other):
        limiter.release(key)
    assert len(limiter) == 0


@pytest.mark.parametrize("knobs", [{"limit": 0}, {"queue": -1}, {"timeout": 0}])
def test_knobs_that_make_no_limiter_are_refused(knobs: dict[str, int]) -> None:
    """No permits at all, a negative queue, no time to wait."""
    with pytest.raises(ValueError, match="limiter"):
        LimiterParameters(**knobs)
    with pytest.raises(ValueError, match="limiter"):
        KeyedLimiter("k", limit=0)


class LimiterModel(RuleBasedStateMachine):
    """Calls that start, end, leave and time out in any order, with limits that change meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = World(limit=2, queue=3)
        self.tasks: list[asyncio.Task[str]] = []
        self.count = 0

    def settle(self, seconds: float = 0.0) -> None:
        """Let time pass and everybody run."""
        self.runner.run(self.world.clock.run_for(seconds))

    @rule(priority=st.sampled_from(Priority))
    def a_call_starts(self, priority: Priority) -> None:
        """It runs, waits or is refused."""
        self.count += 1
        self.tasks += self.runner.run(self.world.start([f"call {self.count}"], priority))  # type: ignore[arg-type]

    @rule(which=st.integers(0, 99))
    def a_call_ends(self, which: int) -> None:
        """Its permit goes to who waits."""
        if self.world.running:
            self.runner.run(self.world.end(self.world.running[which % len(self.world.running)]))

    @rule(which=st.integers(0, 99), at_once=st.booleans())
    def a_caller_leaves(self, which: int, at_once: bool) -> None:
        """Running, waiting, or just about to run."""
        if self.tasks:
            if at_once and self.world.running:  # in the turn in which a permit may be on its way to it
                self.world.gates[self.world.running[0]].set()
            self.tasks[which % len(self.tasks)].cancel()
            self.settle()

    @rule(limit=st.integers(1, 4))
    def the_limit_moves(self, limit: int) -> None:
        """Up or down."""
        self.world.limiter.parameters = LimiterParameters(limit=limit, queue=3)
        self.settle()

    @rule(seconds=st.floats(0.1, 0.6))
    def time_passes(self, seconds: float) -> None:
        """Some waits end."""
        self.settle(seconds)

    @invariant()
    def permits_are_what_runs(self) -> None:
        """Every call that is not done runs or waits, and none waits beside a free permit."""
        limiter = self.world.limiter
        alive = sum(not task.done() for task in self.tasks)
        assert limiter.in_use + limiter.waiting == alive
        assert limiter.waiting <= 3
        assert limiter.waiting == 0 or limiter.in_use >= limiter.limit

    def teardown(self) -> None:
        """All leave, and nothing is held."""
        for task in self.tasks:
            task.cancel()
        self.settle()
        assert (self.world.limiter.in_use, self.world.limiter.waiting) == (0, 0)
        self.runner.close()


LimiterModel.TestCase.settings = settings(max_examples=2500 if FULL else 100, stateful_step_count=25, deadline=None)
TestLimiterModel = LimiterModel.TestCase
TestLimiterModel.__doc__ = "No order of starts, ends, departures and timeouts loses a permit or lets the queue idle."
