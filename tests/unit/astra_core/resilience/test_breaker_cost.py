"""What a call through a closed breaker costs over a bare await, against aiobreaker in the same run."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import aiobreaker

from astra_core.resilience.breaker import BreakerParameters, CircuitBreaker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Caller = Callable[[Callable[..., Any]], Coroutine[Any, Any, Any]]

ROUNDS, CALLS = 41, 1500
BAR = 1.0 / 0.95
"""1.0 us over a bare await, where aiobreaker takes 0.95."""


async def work() -> int:
    """A dependency that answers at once."""
    return 1


async def seconds(call: Caller) -> float:
    """A round of calls."""
    begin = perf_counter()
    for _ in range(CALLS):
        await call(work)
    return perf_counter() - begin


def test_a_call_costs_no_more_over_a_bare_await_than_aiobreakers() -> None:
    """By consecutive failures or by rates, over calls or over time, through `call` or `call_async`."""
    stock = aiobreaker.CircuitBreaker()
    plain = CircuitBreaker()
    rates = CircuitBreaker(parameters=BreakerParameters(slow_rate=0.5, slow_after=1.0))
    timed = CircuitBreaker(parameters=BreakerParameters(slow_rate=0.5, slow_after=1.0, window_seconds=10.0))
    ways: dict[str, Caller] = {
        "bare await": lambda fn: fn(), "aiobreaker.call_async": stock.call_async,
        "consecutive, call_async": plain.call_async, "consecutive, call": plain.call,
        "rates, call_async": rates.call_async, "rates, call": rates.call,
        "rates over time, call_async": timed.call_async, "rates over time, call": timed.call,
    }  # fmt: skip
    times: dict[str, list[float]] = {way: [] for way in ways}

    async def measure() -> None:
        for _ in range(ROUNDS):  # interleaved, so that a busy machine is busy for all of them
            for way, call in ways.items():
                times[way].append(await seconds(call))

    asyncio.run(measure())
    bare = median(times.pop("bare await"))
    over = {way: median(taken) - bare for way, taken in times.items()}
    reference = over["aiobreaker.call_async"]
    for way, cost in over.items():
        print(f"{way:28} {cost / reference:.2f} x aiobreaker ({cost / CALLS * 1e6:.2f} us over a bare await)")
    assert max(over.values()) / reference <= BAR
