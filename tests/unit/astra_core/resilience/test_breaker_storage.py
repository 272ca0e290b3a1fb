"""Breakers that share an aiobreaker storage: they follow each other, and a storage that blocks never stops the loop."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiobreaker import CircuitBreakerState
from aiobreaker.storage.base import CircuitBreakerStorage
from aiobreaker.storage.memory import CircuitMemoryStorage

from astra_core.resilience.breaker import BreakerOpen, CircuitBreaker
from astra_core.resilience.breaker_storage import Shared, in_default_executor
from astra_core.testing import FakeClock
from tests.unit.astra_core.resilience.breaker_driver import Boom, Call

if TYPE_CHECKING:
    from collections.abc import Callable

OPEN, CLOSED, HALF_OPEN = CircuitBreakerState.OPEN, CircuitBreakerState.CLOSED, CircuitBreakerState.HALF_OPEN


class Blocking(CircuitBreakerStorage):
    """A storage as over a network: notes the thread of each touch, and may be down."""

    def __init__(self) -> None:
        super().__init__("blocking")
        self.data = Shared(CLOSED, None, 0)
        self.threads: set[int] = set()
        self.writes: list[str] = []
        self.down = False

    def _touch(self, write: str = "") -> None:
        self.threads.add(threading.get_ident())
        if self.down:
            raise ConnectionError("the storage is down")
        if write:
            self.writes.append(write)

    @property
    def state(self) -> CircuitBreakerState:
        """The shared state."""
        self._touch()
        return self.data.state

    @state.setter
    def state(self, state: CircuitBreakerState) -> None:
        self._touch(state.name)
        self.data = self.data._replace(state=state)

    @property
    def counter(self) -> int:
        """The shared number of failures in a row."""
        return self.data.counter

    def increment_counter(self) -> None:
        """One more."""
        self._touch("failed")
        self.data = self.data._replace(counter=self.data.counter + 1)

    def reset_counter(self) -> None:
        """None."""
        self._touch("reset")
        self.data = self.data._replace(counter=0)

    @property  # type: ignore[override] # before the first opening there is none
    def opened_at(self) -> datetime | None:
        """Naive UTC."""
        return self.data.opened_at

    @opened_at.setter
    def opened_at(self, at: datetime) -> None:
        self.data = self.data._replace(opened_at=at)


def pair(storage: CircuitBreakerStorage, clock: FakeClock, failures: int = 4) -> tuple[CircuitBreaker, CircuitBreaker]:
    """Two breakers on one storage."""
    first, second = (CircuitBreaker(failures, timedelta(seconds=60), None, None, storage, clock=clock) for _ in "ab")
    return first, second


def fail(breaker: CircuitBreaker) -> None:
    """One failed call."""
    with pytest.raises((Boom, BreakerOpen)):
        Call(breaker).end(Boom())


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that a thread brings about."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - the thread knows of no event
            await asyncio.sleep(0.001)


def test_breakers_on_one_memory_storage_are_one() -> None:
    """They count failures together, open together for the same pause, and close together."""
    clock = FakeClock()
    first, second = pair(CircuitMemoryStorage(CLOSED), clock)
    for breaker in (first, second, first, second):
        fail(breaker)
    assert (first.fail_counter, second.circuit_state.value) == (4, "open")
    clock.advance(20)
    assert first.current_state is OPEN
    with pytest.raises(BreakerOpen) as caught:
        Call(first)
    assert caught.value.retry_after == pytest.approx(40.0)
    clock.advance(40)
    Call(first).end()
    assert second.current_state is CLOSED
    Call(second).end()
    assert second.circuit_state.value == "closed"


def test_a_success_of_one_ends_the_row_of_all() -> None:
    """As aiobreaker counts."""
    first, second = pair(CircuitMemoryStorage(CLOSED), FakeClock())
    fail(first)
    Call(second).end()
    assert first.fail_counter == second.fail_counter == 0


def test_an_operators_order_is_not_shared_and_not_overruled() -> None:
    """Forced open here, closed there; what there happens does not end the order here."""
    first, second = pair(CircuitMemoryStorage(CLOSED), FakeClock())
    first.disable()
    second.open()
    Call(first).end()
    assert (first.circuit_state.value, second.circuit_state.value) == ("disabled", "open")
    second.force_open()
    second.close()
    first.force_open()
    Call(second).end()


@pytest.mark.parametrize(
    ("ago", "left"),
    [(20.0, 40.0), (None, 0.0), (9e9, 0.0), (-500.0, 60.0)],
    ids=["at", "never", "long ago", "tomorrow"],
)
def test_a_breaker_begins_as_the_storage_says(ago: float | None, left: float) -> None:
    """An opening that the storage dates is waited out from then, whatever its clock says, for one pause at most."""
    clock = FakeClock(time=1e10)
    storage = CircuitMemoryStorage(OPEN)
    storage.opened_at = None if ago is None else datetime.fromtimestamp(clock.time() - ago, UTC).replace(tzinfo=None)
    before = storage.opened_at
    breaker = CircuitBreaker(5, timedelta(seconds=60), state_storage=storage, clock=clock)
    assert (breaker.circuit_state.value, storage.opened_at) == ("open", before)
    assert breaker.retry_after == pytest.approx(left)
    assert isinstance(breaker.state, OPEN.value)


async def test_a_storage_that_blocks_is_never_touched_on_the_loops_thread() -> None:
    """Not by calls, nor by failures, nor by moves; and what was done is written, in order."""
    storage = Blocking()
    breaker = CircuitBreaker(2, state_storage=storage, clock=FakeClock())
    storage.threads.clear()
    storage.writes.clear()
    await breaker.call(asyncio.sleep, 0)
    for _ in range(2):
        fail(breaker)
    assert (breaker.fail_counter, breaker.current_state) == (2, OPEN)
    breaker.close()
    await until(lambda: storage.writes[-2:] == ["CLOSED", "reset"])
    assert storage.writes == ["failed", "failed", "OPEN", "CLOSED", "reset"]
    assert threading.get_ident() not in storage.threads
    assert storage.data.opened_at == datetime.fromtimestamp(1_700_000_000, UTC).replace(tzinfo=None)


async def test_what_another_process_wrote_is_followed_within_the_refresh() -> None:
    """A call starts the look, at most one each `storage_refresh` seconds; a later call is refused."""
    storage, clock = Blocking(), FakeClock()
    jobs: list[asyncio.Future[Shared]] = []

    def offload(work: Callable[[], Shared]) -> asyncio.Future[Shared]:
        jobs.append(in_default_executor(work))
        return jobs[-1]

    breaker = CircuitBreaker(
        2, timedelta(seconds=60), state_storage=storage, clock=clock, storage_refresh=5.0, storage_offload=offload
    )
    Call(breaker).end()
    await jobs[0]
    storage.data = Shared(OPEN, datetime.fromtimestamp(clock.time(), UTC).replace(tzinfo=None), 7)
    clock.advance(4.9)
    for _ in range(100):
        Call(breaker).end()
    assert (len(jobs), breaker.circuit_state.value) == (1, "closed")
    clock.advance(0.1)
    Call(breaker).end()
    await until(lambda: breaker.circuit_state.value == "open")
    assert breaker.fail_counter == 7
    assert breaker.retry_after == pytest.approx(55.0)
    with pytest.raises(BreakerOpen):
        Call(breaker)


async def test_a_storage_that_is_away_is_logged_and_calls_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """The breaker decides by what it knows itself."""
    storage = Blocking()
    breaker = CircuitBreaker(2, state_storage=storage, clock=FakeClock())
    storage.down = True
    fail(breaker)
    fail(breaker)
    assert breaker.circuit_state.value == "open"
    await until(lambda: "fails" in caplog.text)


def test_without_an_event_loop_a_storage_is_touched_directly(caplog: pytest.LogCaptureFixture) -> None:
    """As by aiobreaker; errors of it are logged here too."""
    storage = Blocking()
    first, second = pair(storage, FakeClock(), failures=2)

    def boom() -> None:
        raise Boom

    for breaker in (first, second):
        with pytest.raises((Boom, BreakerOpen)):
            breaker.call(boom)
    assert (storage.data.state, second.circuit_state.value) == (OPEN, "open")
    with pytest.raises(BreakerOpen):
        first.call(boom)
    storage.down = True
    second.close()
    assert second.call(lambda: "fine") == "fine"
    assert "cannot be written" in caplog.text
    assert "cannot be read" in caplog.text


async def test_what_was_read_before_a_write_is_not_adopted() -> None:
    """A look that began before this breaker moved must not move it back."""
    storage, clock = Blocking(), FakeClock()
    jobs: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []

    def offload(work: Callable[[], Any]) -> asyncio.Future[Any]:
        jobs.append((work, asyncio.get_running_loop().create_future()))
        return jobs[-1][1]

    async def run() -> None:
        work, future = jobs.pop(0)
        future.set_result(work())
        await asyncio.sleep(0)

    breaker = CircuitBreaker(1, state_storage=storage, clock=clock, storage_offload=offload)
    Call(breaker).end()
    assert len(jobs) == 1
    fail(breaker)
    breaker.half_open()
    assert len(jobs) == 1
    storage.data = storage.data._replace(state=CLOSED)
    await run()
    assert breaker.circuit_state.value == "half-open"
    await run()
    assert (storage.data.state, breaker.circuit_state.value, len(jobs)) == (HALF_OPEN, "half-open", 0)


def test_a_state_set_through_the_storage_is_seen() -> None:
    """`state` follows it, and `current_state` shows it."""
    storage = CircuitMemoryStorage(CLOSED)
    breaker = CircuitBreaker(state_storage=storage)
    storage.state = HALF_OPEN
    assert breaker.current_state is HALF_OPEN
    assert breaker.circuit_state.value == "closed"
    assert breaker.state.state is HALF_OPEN
    breaker.state = CLOSED
    assert storage.state is CLOSED
    assert breaker.state.call(lambda: "through the breaker") == "through the breaker"
    assert breaker.snapshot().calls == 1
