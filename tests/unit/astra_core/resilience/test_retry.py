"""Retry policies: what is retried, when, how often, and what stops it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from astra_core.errors import Overloaded, StoreUnavailable
from astra_core.events.retry import CallHedged, RetryGivenUp, RetryScheduled, RetrySucceeded
from astra_core.resilience.backoff import Constant
from astra_core.resilience.budget import RetryBudget, RetryBudgetParameters
from astra_core.resilience.deadline import DeadlineExceeded, DeadlineParameters, Deadlines
from astra_core.resilience.hedge import hedged
from astra_core.resilience.retry import (
    Repeat,
    RetryParameters,
    RetryPolicy,
    parse_retry_after,
)
from astra_core.resilience.sweep import Sweep
from astra_core.testing import FakeClock


class Reply:
    """A result that may ask for a wait."""

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        self.status = status
        self.retry_after = retry_after


class World:
    """A policy with waits of exactly a second, and a dependency that answers from a script."""

    def __init__(self, *script: Any, budget: RetryBudgetParameters | None = None, **parameters: Any) -> None:
        self.clock = FakeClock()
        self.sweep = Sweep(clock=self.clock)
        self.events: list[object] = []
        self.script = list(script)
        self.called_at: list[float] = []
        self.budget = None if budget is None else RetryBudget(parameters=budget, clock=self.clock)
        self.retry = RetryPolicy(
            "api",
            sweep=self.sweep,
            budget=self.budget,
            retry_result=lambda reply: isinstance(reply, Reply) and reply.status == 503,
            listeners=self.events.append,
            parameters=RetryParameters(**{"backoff": Constant(1.0), **parameters}),
        )

    async def dependency(self) -> Any:
        """Take the next step: raise it, return it, or take so many seconds."""
        self.called_at.append(self.clock.monotonic() - 1_000)
        step = self.script.pop(0)
        if isinstance(step, float):
            await self.clock.sleep(step)
            step = "late"
        if isinstance(step, BaseException):
            raise step
        return step

    async def outcome(self, repeat: Repeat = Repeat.IDEMPOTENT, *, work: Any = None, within: float = 100) -> Any:
        """What the caller got, error or result."""
        task = asyncio.ensure_future(work or self.retry.call_as(repeat, self.dependency))
        await self.clock.run_for(within)
        return task.exception() or task.result()


async def test_a_transient_failure_is_tried_again() -> None:
    """The result of the third try comes back after two waits; listeners hear of each, and that it was worth them."""
    world = World(ConnectionResetError(), TimeoutError(), "ok")
    assert await world.outcome() == "ok"
    assert world.called_at == [0.0, 1.0, 2.0]
    assert world.events == [
        RetryScheduled("api", 1, 1.0, "ConnectionResetError"),
        RetryScheduled("api", 2, 1.0, "TimeoutError"),
        RetrySucceeded("api", 3),
    ]


async def test_the_last_failure_itself_goes_to_the_caller() -> None:
    """After three tries the caller has the dependency's error, and no error of ours in its place."""
    last = ConnectionRefusedError("third")
    world = World(ConnectionRefusedError(), ConnectionRefusedError(), last)
    assert await world.outcome() is last
    assert world.events[-1] == RetryGivenUp("api", 3, "attempts", "ConnectionRefusedError")


async def test_what_is_not_transient_is_raised_at_once() -> None:
    """A bug is not retried, nor is a refusal of our own."""
    for error in (ValueError(), Overloaded("limiter", limit=1)):
        world = World(error)
        assert await world.outcome() is error
        assert world.events == []


async def test_a_result_can_ask_for_a_retry() -> None:
    """A 503 is tried again while tries are left, and is then the result."""
    world = World(Reply(503), Reply(200))
    assert (await world.outcome()).status == 200
    world = World(Reply(503), Reply(503), Reply(503))
    assert (await world.outcome()).status == 503
    assert world.events[-1] == RetryGivenUp("api", 3, "attempts", "result")


@pytest.mark.parametrize(
    ("repeat", "step", "tries"),
    [
        (Repeat.UNSENT, ConnectionResetError(), 1),
        (Repeat.UNSENT, TimeoutError(), 1),
        (Repeat.UNSENT, Reply(503), 1),
        (Repeat.UNSENT, ConnectionRefusedError(), 2),
        (Repeat.KEYED, ConnectionResetError(), 2),
        (Repeat.KEYED, Reply(503), 2),
        (Repeat.IDEMPOTENT, ConnectionResetError(), 2),
    ],
)
async def test_a_call_that_may_have_left_is_repeated_only_when_safe(repeat: Repeat, step: Any, tries: int) -> None:
    """Not idempotent: only what never left. With an idempotency key, or idempotent: whatever failed."""
    world = World(step, "ok")
    await world.outcome(repeat)
    assert len(world.called_at) == tries
    if tries == 1:
        cause = "result" if isinstance(step, Reply) else type(step).__name__
        assert world.events == [RetryGivenUp("api", 1, "unsafe", cause)]


async def test_a_bare_call_is_taken_for_not_idempotent() -> None:
    """Whoever says nothing gets the safe reading."""
    world = World(ConnectionResetError(), "ok")
    assert isinstance(await world.outcome(work=world.retry.call(world.dependency)), ConnectionResetError)


async def test_a_cancellation_is_never_retried() -> None:
    """A caller that leaves in a try or in a wait ends it all, and one raised by the call itself does too."""
    for first_step in (5.0, ConnectionResetError()):
        world = World(first_step, "never")
        task = asyncio.create_task(world.retry.call_as(Repeat.IDEMPOTENT, world.dependency))
        await world.clock.run_for(0.5)
        task.cancel()
        await world.clock.run_for(10)
        assert task.cancelled()
        assert len(world.called_at) == 1
    world = World(asyncio.CancelledError(), "never")
    with pytest.raises(asyncio.CancelledError):
        await world.outcome()
    assert len(world.called_at) == 1


async def test_a_try_has_its_own_timeout_within_the_deadline() -> None:
    """A hanging try is cut off and another made; the deadline outside cuts off all of them, and then none begins."""
    world = World(60.0, "ok", try_timeout=2.0)
    assert await world.outcome() == "ok"
    assert world.called_at == [0.0, pytest.approx(3.0)]

    world = World(60.0, 60.0, 60.0, 60.0, try_timeout=2.0, attempts=9)
    deadlines = Deadlines("all", sweep=world.sweep, parameters=DeadlineParameters(budget=4.0))
    error = await world.outcome(work=deadlines.call(world.retry.call_as, Repeat.IDEMPOTENT, world.dependency))
    assert isinstance(error, DeadlineExceeded)
    assert error.name == "all"
    assert world.called_at == [0.0, pytest.approx(3.0)]


async def test_no_wait_is_begun_that_the_deadline_would_cut() -> None:
    """With half a second left and a second to wait the failure is handed over at once."""
    failure = StoreUnavailable("gone", retry_after=0.0)
    world = World(failure, "never")
    deadlines = Deadlines("all", sweep=world.sweep, parameters=DeadlineParameters(budget=0.5))
    started = world.clock.monotonic()
    with pytest.raises(StoreUnavailable):
        await deadlines.call(world.retry.call_as, Repeat.IDEMPOTENT, world.dependency)
    assert world.clock.monotonic() == started
    assert world.events == [RetryGivenUp("api", 1, "deadline", "StoreUnavailable")]


@pytest.mark.parametrize(("asked", "waited"), [(4.0, 5.0), (0.0, 1.0), (-3.0, 1.0), (3_600.0, 11.0), (None, 1.0)])
async def test_the_other_side_is_not_tried_before_it_asked(asked: float | None, waited: float) -> None:
    """What `Retry-After` asks, clamped, comes before the backoff; for results and errors alike."""
    world = World(Reply(503, retry_after=asked), Reply(200), max_retry_after=10.0)
    await world.outcome()
    assert world.called_at == [0.0, waited]
    if asked is not None:
        world = World(StoreUnavailable("gone", retry_after=asked), "ok", max_retry_after=10.0)
        await world.outcome()
        assert world.called_at == [0.0, waited]


async def test_an_empty_budget_stops_retries_of_all_who_share_it() -> None:
    """One policy spends the two retries that there are; another of the same dependency makes only its first try."""
    world = World(*[ConnectionResetError() for _ in range(9)], budget=RetryBudgetParameters(floor=0.2, ratio=0.0))
    sibling = RetryPolicy("api", sweep=world.sweep, budget=world.budget, listeners=world.events.append)
    await world.outcome(within=3)
    assert len(world.called_at) == 3
    error = await world.outcome(work=sibling.call_as(Repeat.IDEMPOTENT, world.dependency), within=3)
    assert isinstance(error, ConnectionResetError)
    assert len(world.called_at) == 4
    assert world.events[-1] == RetryGivenUp("api", 1, "budget", "ConnectionResetError")


async def test_first_tries_fill_the_budget() -> None:
    """Five calls in a row allow one retry, the fourth does not yet; a retry is no first try."""
    for healthy, tries in ((3, 4), (4, 6)):
        script = ["ok"] * healthy + [ConnectionResetError(), "ok"]
        world = World(*script, budget=RetryBudgetParameters(floor=0.0, ratio=0.2))
        for _ in range(healthy + 1):
            await world.outcome(within=1.5)
        assert len(world.called_at) == tries


async def test_a_retry_that_is_not_made_is_not_paid() -> None:
    """Giving up for lack of tries leaves the budget as it was."""
    world = World(ConnectionResetError(), budget=RetryBudgetParameters(floor=0.1, ratio=0.0), attempts=1)
    await world.outcome(within=1)
    assert world.budget is not None
    assert world.budget.balance == 1


async def test_a_slow_read_is_hedged_and_the_first_answer_serves() -> None:
    """After half a second a second copy is sent; the slow one is cancelled and has ended."""
    world = World(30.0, "quick", hedge_after=0.5)
    task = asyncio.create_task(world.retry.call_as(Repeat.IDEMPOTENT, world.dependency))
    await world.clock.run_for(0.6)
    assert task.result() == "quick"
    assert world.called_at == [0.0, 0.5]
    assert world.events == [CallHedged("api", 0.5)]
    assert world.clock.sleepers == 0


async def test_only_slow_idempotent_calls_within_the_budget_are_hedged() -> None:
    """Not writes, not under a key, not quick ones, not when the budget is empty."""
    for repeat in (Repeat.UNSENT, Repeat.KEYED):
        world = World(30.0, "never", hedge_after=0.5)
        assert await world.outcome(repeat) == "late"
        assert len(world.called_at) == 1
    for script, budget in (((0.4,), None), ((30.0,), RetryBudgetParameters(floor=0.0, ratio=0.0))):
        world = World(*script, hedge_after=0.5, budget=budget)
        assert await world.outcome() == "late"
        assert len(world.called_at) == 1


async def test_a_hedge_outlives_the_failure_of_the_other_copy() -> None:
    """One copy failing is not the end; when both fail the first copy's error is raised."""
    first, second = 0.7, ConnectionResetError("second")
    world = World(first, second, hedge_after=0.5, attempts=1)
    assert await world.outcome() == "late"
    world = World(2.0, 3.0, hedge_after=0.5, try_timeout=1.0, attempts=1)
    assert isinstance(await world.outcome(), DeadlineExceeded)
    assert world.clock.sleepers == 0


async def test_the_loser_of_a_hedge_has_ended_when_the_winner_returns() -> None:
    """Whatever it holds is given back first, also when that takes it a while."""
    ended: list[str] = []

    async def read() -> str:
        if copies.pop():
            return "quick"
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            ended.append("slow")
        return "slow"

    copies = [True, False]
    assert await hedged(read, after=0.0, may_send=lambda: True, sleep=asyncio.sleep) == "quick"
    assert ended == ["slow"]


async def test_a_caller_that_leaves_ends_both_copies() -> None:
    """Nothing runs on for nobody."""
    world = World(30.0, 30.0, hedge_after=0.5)
    task = asyncio.create_task(world.retry.call_as(Repeat.IDEMPOTENT, world.dependency))
    await world.clock.run_for(1)
    assert len(world.called_at) == 2
    task.cancel()
    await world.clock.run_for(0)
    assert task.cancelled()
    assert world.clock.sleepers == 0


async def test_parameters_are_swapped_while_it_runs() -> None:
    """The next failure is judged by the new ones."""
    world = World(ConnectionResetError(), "never")
    world.retry.parameters = RetryParameters(attempts=1)
    assert isinstance(await world.outcome(), ConnectionResetError)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        ("Sunday, 06-Nov-94 08:49:47 GMT", 10.0),
        ("Sun Nov  6 08:49:47 1994", 10.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
        ("99999999999999999999", 9999999999.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("²", None),
        ("Sun, 06 Nov 99999999 08:49:37 GMT", None),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_retry_after_is_seconds_or_a_date(
    header: str, seconds: float | None, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three date forms of RFC 9110, whatever the machine's time zone; what is neither is None."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert parse_retry_after(header, now=784_111_777.0) == seconds
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "knobs", [{"attempts": 0}, {"try_timeout": 0.0}, {"hedge_after": -1.0}, {"max_retry_after": -1}]
)
def test_knobs_that_make_no_retry_are_refused(knobs: dict[str, Any]) -> None:
    """No try at all, and times that are none."""
    with pytest.raises(ValueError, match="0"):
        RetryParameters(**knobs)
