"""A guarded store: what a policy's refusals become, what counts against the store, how it comes back."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.errors import (
    CommitConflict,
    CommitInDoubt,
    ConflictReason,
    Overloaded,
    StorageError,
    StoreUnavailable,
)
from astra_core.resilience import (
    BreakerOpen,
    BreakerParameters,
    BreakerState,
    CircuitBreaker,
    Constant,
    DeadlineExceeded,
    DeadlineParameters,
    Deadlines,
    Limiter,
    LimiterParameters,
    Policy,
    RetryParameters,
    RetryPolicy,
    Sweep,
    own_deadline_expired,
)
from astra_core.storage import (
    Change,
    Collection,
    Insert,
    MemoryStore,
    guarded,
    store_is_failing,
    store_said_nothing,
    wrote_nothing,
)
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from astra_core.storage import Record, StoreEngine

THING = Insert(collection="things", key="a", value=b"v")
BUDGET = 2.0


class Flaky(MemoryStore):
    """A store that fails or hangs on demand, and counts the calls that reach it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(collections=[Collection(name="things")])
        self.clock = clock
        self.reached = 0
        self.fault: BaseException | None = None
        self.hangs = False
        self.takes = 0.0

    async def _meet(self) -> None:
        self.reached += 1
        if self.hangs:
            await self.clock.sleep(1_000_000)
        if self.takes:
            await self.clock.sleep(self.takes)
        if self.fault is not None:
            raise self.fault

    async def get(self, collection: str, key: str) -> Record | None:
        """Read, unless at fault."""
        await self._meet()
        return await super().get(collection, key)

    async def commit(self, writes: Any) -> tuple[int, ...]:
        """Commit, unless at fault."""
        await self._meet()
        return await super().commit(writes)

    async def moved(self) -> int:
        """Look, unless at fault."""
        await self._meet()
        return await super().moved()


class World:
    """A flaky store behind every part of a policy, and a clock."""

    def __init__(
        self, *, attempts: int = 1, limit: int = 2_000, queue: int = 10, failures: int = 3, **breaker: Any
    ) -> None:
        self.clock = FakeClock()
        self.sweep = Sweep(clock=self.clock)
        self.flaky = Flaky(self.clock)
        rules = {"failure_rate": None, "consecutive_failures": failures, "open_jitter": 0.0, "probes": 3} | breaker
        self.breaker = CircuitBreaker(
            name="store",
            parameters=BreakerParameters(**rules),
            clock=self.clock,
            random=Random(1),
            is_failure=store_is_failing,
            ignore=store_said_nothing,
            cancellation_is_failure=own_deadline_expired,
        )
        self.limiter = Limiter(
            "store", sweep=self.sweep, parameters=LimiterParameters(limit=limit, queue=queue, retry_after=7.0)
        )
        self.policy = Policy(
            name="store",
            deadline=Deadlines("store", sweep=self.sweep, parameters=DeadlineParameters(budget=BUDGET)),
            retry=RetryPolicy(
                "store",
                sweep=self.sweep,
                parameters=RetryParameters(attempts=attempts, backoff=Constant(0.1), max_retry_after=0.0),
                retry_on=store_is_failing,
                is_unsent=wrote_nothing,
            ),
            breaker=self.breaker,
            limiter=self.limiter,
        )
        self.store: StoreEngine = guarded(self.flaky, reads=self.policy, writes=self.policy)

    @property
    def state(self) -> BreakerState:
        """The breaker's."""
        return self.breaker.circuit_state

    async def open(self) -> World:
        """Open the store."""
        await self.store.open()
        return self

    async def fails(self, work: Awaitable[Any], seconds: float = 0.0) -> StoreUnavailable:
        """What `work` raised after so much time, which must be what the port promises."""
        task = asyncio.ensure_future(work)
        await self.clock.run_for(seconds)
        error = task.exception()
        assert isinstance(error, StoreUnavailable)
        return error

    async def break_it(self) -> None:
        """Fail until the breaker opens."""
        self.flaky.fault = StoreUnavailable("away")
        while self.breaker.circuit_state is not BreakerState.OPEN:
            await self.fails(self.store.get("things", "a"), 0.5)


async def test_every_port_passes() -> None:
    """A guarded store answers like the store."""
    world = await World().open()
    store = world.store
    assert await store.commit([THING, Change(feed="f", key="a")]) == (1, 1)
    record = await store.get("things", "a")
    assert record is not None
    assert record.value == b"v"
    assert (await store.changes("f", after=0)).keys == ("a",)
    assert (await store.counts("c", ["x"]), await store.positions()) == ({"x": 0}, {})
    assert await store.tip("f") == 1
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.tip("f")
    assert "MemoryStore" in repr(store)
    assert "CircuitBreaker" in repr(store)


async def test_once_open_no_call_reaches_the_store() -> None:
    """Refusals are immediate, `StoreUnavailable` from the breaker's error, with the time that is left of its pause."""
    world = await World(open_for=8.0).open()
    await world.break_it()
    reached = world.flaky.reached
    await world.clock.run_for(3.0)
    for work in (world.store.get("things", "a"), world.store.commit([THING]), world.store.tip("f")):
        error = await world.fails(work)
        assert type(error) is StoreUnavailable
        assert error.retry_after == pytest.approx(world.breaker.retry_after)
        assert 4.0 < error.retry_after < 5.1
        assert isinstance(error.__cause__, BreakerOpen)
    assert world.flaky.reached == reached


async def test_the_call_that_opens_the_breaker_says_so_in_the_ports_words() -> None:
    """The store's own error is still to be found beneath."""
    world = await World(failures=1, open_for=8.0).open()
    world.flaky.fault = cause = StoreUnavailable("away", retry_after=0.5)
    error = await world.fails(world.store.commit([THING]))
    assert (type(error), error.retry_after) == (StoreUnavailable, 8.0)
    assert error.__cause__ is not None
    assert error.__cause__.__cause__ is cause


async def test_retry_after_grows_with_the_breakers_pause() -> None:
    """Each time that the probes fail the pause doubles, and the callers are told."""
    world = await World(open_for=1.0, open_multiplier=2.0, probes=1).open()
    await world.break_it()
    told = []
    for _ in range(4):
        told.append((await world.fails(world.store.get("things", "a"))).retry_after)
        await world.clock.run_for(told[-1])
        await world.fails(world.store.get("things", "a"))  # the probe
    assert told == pytest.approx([1.0, 2.0, 4.0, 8.0], rel=0.6)
    assert all(later > 1.4 * earlier for earlier, later in pairwise(told))


async def test_a_full_limiter_is_an_unavailable_store_for_as_long_as_the_limiter_says() -> None:
    """And it counts neither way."""
    world = await World(limit=1, queue=0).open()
    world.flaky.takes = 1.0
    running = asyncio.create_task(world.store.get("things", "a"))
    await world.clock.run_for(0)
    for _ in range(10):
        error = await world.fails(world.store.commit([THING]))
        assert (type(error), error.retry_after) == (StoreUnavailable, 7.0)
        assert isinstance(error.__cause__, Overloaded)
    await world.clock.run_for(1.0)
    assert await running is None
    assert world.state is BreakerState.CLOSED
    assert world.breaker.consecutive_failures == 0


async def test_a_read_that_hangs_is_cut_off_at_the_deadline() -> None:
    """Its error waits a second, or as long as the breaker which that opened."""
    world = await World(failures=2, open_for=30.0).open()
    world.flaky.hangs = True
    first = await world.fails(world.store.get("things", "a"), BUDGET + 0.1)
    assert isinstance(first.__cause__, DeadlineExceeded)
    assert first.retry_after == 1.0
    second = await world.fails(world.store.get("things", "a"), BUDGET + 0.1)
    assert world.state is BreakerState.OPEN
    assert 29 < second.retry_after <= 30


async def test_a_commit_that_hangs_is_in_doubt() -> None:
    """It had reached the store, so nobody knows; one that waited in our own queue is known not to have happened."""
    world = await World(limit=1, failures=9).open()
    world.flaky.hangs = True
    begun = asyncio.create_task(world.store.commit([THING]))
    await world.clock.run_for(0)
    queued = asyncio.create_task(world.store.commit([THING]))
    await world.clock.run_for(BUDGET + 0.1)
    assert type(begun.exception()) is CommitInDoubt
    assert type(queued.exception()) is StoreUnavailable
    assert world.flaky.reached == 1


async def test_a_store_that_says_a_commit_is_in_doubt_is_heard() -> None:
    """Through the breaker that this opens too."""
    world = await World(failures=2).open()
    world.flaky.fault = CommitInDoubt("connection lost")
    assert [type(await world.fails(world.store.commit([THING]))) for _ in range(2)] == [CommitInDoubt] * 2
    assert world.state is BreakerState.OPEN
    assert type(await world.fails(world.store.commit([THING]))) is StoreUnavailable


async def test_reads_are_repeated() -> None:
    """As often as the policy says, whatever the failure of the store was."""
    for fault in (StoreUnavailable("away"), CommitInDoubt("lost"), ConnectionResetError()):
        world = await World(attempts=3, failures=9).open()
        world.flaky.fault = fault
        task = asyncio.ensure_future(world.store.get("things", "a"))
        await world.clock.run_for(1.0)
        assert task.exception() is fault
        assert world.flaky.reached == 3


async def test_commits_are_repeated_only_when_nothing_was_written() -> None:
    """By the port's promise after `StoreUnavailable`, never in doubt, nor when a policy for reads is handed in."""
    for fault, times in ((StoreUnavailable("away"), 3), (CommitInDoubt("lost"), 1), (TimeoutError(), 1)):
        world = await World(attempts=3, failures=9).open()
        world.flaky.fault = fault
        for store in (world.store, guarded(world.flaky, reads=world.policy, writes=world.policy.idempotent)):
            world.flaky.reached = 0
            await world.fails(store.commit([THING]), 1.0)
            assert world.flaky.reached == times


async def test_the_poll_of_the_feed_is_cut_off_and_counts_neither_way() -> None:
    """It passes an open breaker, takes no place of a probe, and hides no failure."""
    world = await World(failures=3, open_for=5.0).open()
    await world.break_it()
    world.flaky.fault = None
    assert await world.store.moved() == 0
    await world.clock.run_for(6.0)
    for _ in range(10):
        await world.store.moved()
    assert world.breaker.snapshot().state is BreakerState.OPEN
    world.breaker.reset()
    world.flaky.hangs = True
    for _ in range(5):
        await world.fails(world.store.moved(), BUDGET + 0.1)
    assert world.state is BreakerState.CLOSED


HEALTHY: list[Exception] = [CommitConflict(ConflictReason.EXISTS, write=0, key="a")]
SILENT: list[Exception] = [
    ValueError("no such collection"),
    StorageError("counter would leave 64 bits"),
    Overloaded("queue", limit=1),
    DeadlineExceeded("request", budget=0.1, own=False),
]
FAILING: list[Exception] = [
    StoreUnavailable("the disk is full"),
    CommitInDoubt("lost"),
    ConnectionResetError(),
    TimeoutError(),
    DeadlineExceeded("a try", budget=0.1, own=True),
]


def caused(cause: Exception) -> StoreUnavailable:
    """A store's own error with a cause."""
    error = StoreUnavailable("not now")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("error", [*HEALTHY, *SILENT, *map(caused, SILENT[2:])], ids=repr)
async def test_what_is_no_failure_of_the_store_never_opens_its_breaker(error: Exception) -> None:
    """Conflicts, mistakes of callers, full queues (the engine's own too) and deadlines that callers shortened."""
    world = await World(failures=2).open()
    world.flaky.fault = error
    for _ in range(20):
        with pytest.raises((type(error), StoreUnavailable)):
            await world.store.commit([THING])
    assert world.state is BreakerState.CLOSED
    assert not store_is_failing(error)
    assert store_said_nothing(error) == (error not in HEALTHY)


@pytest.mark.parametrize("error", FAILING, ids=repr)
async def test_what_is_a_failure_of_the_store_opens_its_breaker(error: Exception) -> None:
    """No answer, no connection, or an answer that says that it cannot."""
    world = await World(failures=2).open()
    world.flaky.fault = error
    for _ in range(2):
        with pytest.raises((type(error), StoreUnavailable)):
            await world.store.get("things", "a")
    assert world.state is BreakerState.OPEN
    assert store_is_failing(error)
    assert not store_said_nothing(error)


async def test_a_probe_that_says_nothing_closes_nothing() -> None:
    """A caller's mistake gives the place of a probe back; a conflict is an answer and takes it."""
    world = await World(probes=1, open_for=1.0, ramp=0.0).open()
    await world.break_it()
    await world.clock.run_for(1.0)
    for error in SILENT[:2]:
        world.flaky.fault = error
        with pytest.raises(type(error)):
            await world.store.commit([THING])
    assert world.breaker.snapshot().state is BreakerState.HALF_OPEN
    world.flaky.fault = HEALTHY[0]
    with pytest.raises(CommitConflict):
        await world.store.commit([THING])
    assert world.state is BreakerState.CLOSED


async def test_no_caller_can_open_the_breaker() -> None:
    """Fifty who leave and fifty who allow a tenth of a second count neither way."""
    world = await World(failures=2).open()
    world.flaky.hangs = True
    inbound = Deadlines("request", sweep=world.sweep)

    async def hasty() -> None:
        async with inbound.scope(asked=0.1):
            await world.store.get("things", "a")

    for _ in range(50):
        leaving = asyncio.create_task(world.store.commit([THING]))
        impatient = asyncio.create_task(hasty())
        await world.clock.run_for(0.05)
        leaving.cancel()
        await world.clock.run_for(0.1)
        assert leaving.cancelled()
        assert isinstance(impatient.exception(), (DeadlineExceeded, StoreUnavailable))
    assert world.flaky.reached == 100
    assert world.state is BreakerState.CLOSED
    assert world.breaker.consecutive_failures == 0


async def drive(world: World, callers: int, step: float, seconds: float, seen: Callable[[int], None]) -> None:
    """Let so many callers call once a step; `seen` hears how many of them reached the store."""
    for _ in range(round(seconds / step)):
        before = world.flaky.reached
        calls = [asyncio.ensure_future(world.store.get("things", "a")) for _ in range(callers)]
        await world.clock.run_for(step)
        for call in calls:
            assert call.done()
            assert call.exception() is None or isinstance(call.exception(), StoreUnavailable)
        seen(world.flaky.reached - before)


@pytest.mark.parametrize("returns_at", [0.3, 4.2, 13.7, 30.1, 61.9])
async def test_service_is_normal_within_twice_the_pause_in_force(returns_at: float) -> None:
    """Whenever the store comes back: wait, probes and ramp together. A call then reaches it whenever it is made."""
    world = await World(open_for=5.0, open_multiplier=2.0, open_cap=20.0).open()
    world.flaky.takes = 0.01
    world.flaky.fault = StoreUnavailable("away")
    await drive(world, 10, 0.1, returns_at, lambda _: None)
    world.flaky.fault = None
    pause = world.breaker.snapshot().open_seconds
    assert pause > 0
    returned = world.clock.monotonic()
    while world.state is not BreakerState.CLOSED:
        await drive(world, 10, 0.1, 0.1, lambda _: None)
        assert world.clock.monotonic() - returned <= 2 * pause
    full: list[int] = []
    await drive(world, 10, 0.1, 5.0, full.append)
    assert full == [10] * 50


async def test_a_thousand_callers_are_no_herd() -> None:
    """While the store is away none reaches it, then the probes, then a share that grows from a tenth to all."""
    world = await World(open_for=2.0, probes=3, ramp=0.5, ramp_start=0.1).open()
    await world.break_it()
    world.flaky.fault = None
    world.flaky.takes = 0.05
    opened, callers, step = world.clock.monotonic(), 1_000, 0.1
    reached: list[tuple[BreakerState, BreakerState, float, int]] = []

    def note(number: int) -> None:
        reached.append((state[0], world.state, world.clock.monotonic() - opened, number))
        state[0] = world.state

    state = [world.state]
    await drive(world, callers, step, 3.6, note)
    ramp_from = None
    for before, after, at, number in reached:
        if after is BreakerState.OPEN:
            assert number == 0
        elif before in (BreakerState.OPEN, BreakerState.HALF_OPEN) and after is not BreakerState.CLOSED:
            assert number <= 3
            ramp_from = at - step
        elif after is BreakerState.RAMPING:
            assert ramp_from is not None
            share = 0.1 + 0.9 * min(1.0, (at - ramp_from) / 1.0)
            assert 0 < number <= share * callers + 1
    assert {after for _, after, _, _ in reached} >= {BreakerState.OPEN, BreakerState.RAMPING, BreakerState.CLOSED}
    assert reached[-1][3] == callers
