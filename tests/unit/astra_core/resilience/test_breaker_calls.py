"""What can be called through a breaker, and how: coroutines, awaitables, functions, generators, decorated ones."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.resilience.breaker import BreakerOpen, BreakerParameters, CircuitBreaker
from astra_core.resilience.deadline import Deadlines, own_deadline_expired
from astra_core.resilience.sweep import Sweep
from astra_core.testing import FakeClock
from tests.unit.astra_core.resilience.breaker_driver import Boom

if TYPE_CHECKING:
    from collections.abc import Generator


class Service:
    """A dependency with every kind of callable."""

    async def fetch(self, *, fail: bool = False) -> str:
        """A coroutine."""
        await asyncio.sleep(0)
        return self.read(fail=fail)

    def read(self, *, fail: bool = False) -> str:
        """A plain function."""
        if fail:
            raise Boom
        return "read"

    def send(self, *, fail: bool = False) -> asyncio.Future[str]:
        """A function that returns a future, as drivers built on callbacks do."""
        return asyncio.ensure_future(self.fetch(fail=fail))

    async def __call__(self, *, fail: bool = False) -> str:
        """An object that is called and awaited."""
        return await self.fetch(fail=fail)


@pytest.fixture
def breaker() -> CircuitBreaker:
    """A breaker that opens at the second failure in a row."""
    return CircuitBreaker(2, name="service", clock=FakeClock())


@pytest.mark.parametrize("kind", ["coroutine function", "future", "object", "partial", "call_async"])
async def test_whatever_can_be_awaited_is_guarded_until_it_is_done(breaker: CircuitBreaker, kind: str) -> None:
    """`call` awaits what it has to; failures count when they happen, and an open breaker does not call."""
    service = Service()
    fn: Any = {
        "coroutine function": service.fetch, "future": service.send, "object": service, "call_async": service.send,
        "partial": functools.partial(service.fetch),
    }[kind]  # fmt: skip
    call = breaker.call_async if kind == "call_async" else breaker.call
    assert await call(fn) == "read"
    assert breaker.snapshot().calls == 1
    with pytest.raises(Boom):
        await call(fn, fail=True)
    with pytest.raises(BreakerOpen):
        await call(fn, fail=True)
    with pytest.raises(BreakerOpen, match="service is open"):
        await call(fn)
    assert breaker.snapshot().calls == 3


def test_plain_functions_are_called_at_once(breaker: CircuitBreaker) -> None:
    """Also built-in ones; no event loop is needed."""
    assert breaker.call(Service().read) == "read"
    assert breaker.call(len, "four") == 4
    with pytest.raises(Boom):
        breaker.call(Service().read, fail=True)
    assert breaker.snapshot().calls == 3


@pytest.mark.parametrize("fn", [Service().fetch, Service(), functools.partial(Service().fetch)])
async def test_what_is_to_be_awaited_is_admitted_when_it_is(breaker: CircuitBreaker, fn: Any) -> None:
    """So a task made of the call carries the refusal, and one that is cancelled before it ran held no permit."""
    breaker.half_open()
    task = asyncio.ensure_future(breaker.call(fn))
    task.cancel()
    assert await breaker.call(fn) == "read"
    breaker.force_open()
    task = asyncio.ensure_future(breaker.call(fn))
    with pytest.raises(BreakerOpen):
        await task


def test_generators_are_judged_when_they_end(breaker: CircuitBreaker) -> None:
    """Values go in and errors are thrown in as without a breaker, and what it returns is returned."""

    @breaker
    def echo() -> Generator[object, object, str]:
        got: object = "begun"
        for _ in range(2):
            try:
                got = yield got
            except KeyError as error:
                got = error
        return "ended"

    generator = echo()
    assert (next(generator), generator.send(1)) == ("begun", 1)
    assert breaker.snapshot().calls == 0
    with pytest.raises(StopIteration) as stop:
        generator.send(2)
    assert (stop.value.value, breaker.snapshot().calls) == ("ended", 1)
    generator = echo()
    next(generator)
    assert isinstance(generator.throw(KeyError()), KeyError)
    with pytest.raises(Boom):
        generator.throw(Boom())
    assert breaker.consecutive_failures == 1
    generator = echo()
    next(generator)
    generator.close()
    assert breaker.snapshot().calls == 2


async def test_a_decorated_function_is_guarded_once(breaker: CircuitBreaker) -> None:
    """Called directly, or through `call` or `call_async` of the same breaker; `ignore_on_call=False` counts both."""

    @breaker
    async def fetch() -> None:
        """Fetch."""

    @breaker()
    def read() -> None:
        """Read."""

    @breaker(ignore_on_call=False)
    async def twice() -> None:
        """Counted by both."""

    assert (fetch.__name__, read.__doc__) == ("fetch", "Read.")
    await fetch()
    await breaker.call(fetch)
    await breaker.call_async(fetch)
    read()
    breaker.call(read)
    assert breaker.snapshot().calls == 5
    await breaker.call(twice)
    assert breaker.snapshot().calls == 7


def test_whatever_else_ends_a_call_counts_neither_way(breaker: CircuitBreaker) -> None:
    """A process that is told to stop says nothing about a dependency."""

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaker.call(stop)
    assert breaker.snapshot().calls == 0


@pytest.mark.parametrize(("asked", "failures"), [(None, 1), (0.02, 0)], ids=["our own", "shortened by the caller"])
async def test_only_our_own_deadline_speaks_against_a_dependency(asked: float | None, failures: int) -> None:
    """A call that our unshortened deadline cut off is a failure; one that a caller's shorter one cut off is nothing."""
    breaker = CircuitBreaker(5, cancellation_is_failure=own_deadline_expired)
    deadlines = Deadlines("edge", sweep=Sweep())
    with pytest.raises(TimeoutError):
        async with deadlines.scope(0.05 if asked is None else 60.0, asked=asked):
            await breaker.call(asyncio.sleep, 60)
    assert breaker.consecutive_failures == failures


def test_parameters_or_aiobreakers_two_but_not_both() -> None:
    """And a background probe needs a spawner."""
    with pytest.raises(TypeError):
        CircuitBreaker(3, parameters=BreakerParameters())
    with pytest.raises(TypeError):
        CircuitBreaker(probe=Service().fetch)


def test_aiobreakers_setters_change_the_parameters(breaker: CircuitBreaker) -> None:
    """And what goes by a rate has no number of failures."""
    breaker.fail_max = 7
    assert breaker.parameters.consecutive_failures == breaker.fail_max == 7
    assert CircuitBreaker(parameters=BreakerParameters()).fail_max is None
