"""What a piece of work costs by key, and what a slow key costs the others, each against its reference in the same run.

Prints JSON. `us per task`: the best round of work that does nothing, submitted and awaited one after the other, of the
same in bursts over many keys and over one, and of a bare `create_task` that is awaited. `slow key`: 1,000 keys with one
event in flight each, once all quick and once with one that sleeps; the median over alternated pairs of runs of the
others' p99 with it over the p99 without; and the same where the keys share 16 queues beside it.

Bars: a task <= 12 us; the slow key's ratio <= 3.
"""

from __future__ import annotations

import asyncio
import json
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING

from astra_core.keyed import KeyedExecutor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["latency_p99", "main", "slow_key_ratio"]

_CALLS = 10_000
_BURST = 50
_ROUNDS = 9
_MICROSECONDS = 1e6
_SLOW = 0.2


async def nothing() -> None:
    """Do nothing."""


async def microseconds(once: Callable[[], Awaitable[object]], *, works: int = 1) -> float:
    """Return the time of the best round of `once()`, a piece of work out of the `works` in it, in microseconds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        begin = perf_counter()
        for _ in range(_CALLS // works):
            await once()
        best = min(best, (perf_counter() - begin) / (_CALLS // works * works))
    return best * _MICROSECONDS


async def task_costs() -> dict[str, float]:
    """Return what a piece of work costs in each way of handing it over."""
    executor = KeyedExecutor("cost")
    create_task = asyncio.get_running_loop().create_task

    async def bare() -> None:
        await create_task(nothing())

    async def burst(keys: int) -> None:
        last = _BURST - 1
        for number in range(last):
            executor.post(number % keys, nothing)
        await executor.submit(last % keys, nothing)

    costs = {
        "bare task": await microseconds(bare),
        "submitted": await microseconds(lambda: executor.submit("key", nothing)),
        "burst over 50 keys": await microseconds(lambda: burst(_BURST), works=_BURST),
        "burst on one key": await microseconds(lambda: burst(1), works=_BURST),
    }
    await executor.close(timeout=5.0)
    return costs


async def latency_p99(*, keys: int, seconds: float, slow: float, work: float, queues: int = 0) -> float:
    """Return the p99 in seconds of `keys` keys with one event each in flight; another key takes `slow` an event.

    Without `slow` that key is as quick as the others, which take `work`. With `queues` the keys share so many in place
    of a mailbox each.
    """
    executor = KeyedExecutor("latency", concurrency=keys + 1, mailbox=keys)
    latencies: list[float] = []
    end = perf_counter() + seconds

    async def drive(key: int) -> None:
        while (begin := perf_counter()) < end:
            await executor.submit(key % queues if queues else key, asyncio.sleep, slow if slow and not key else work)
            if key:
                latencies.append(perf_counter() - begin)

    await asyncio.gather(*(drive(key) for key in range(keys + 1)))
    await executor.close(timeout=5.0)
    return quantiles(latencies, n=100)[98]


async def slow_key_ratio(
    *, pairs: int, keys: int = 1_000, seconds: float = 0.5, work: float = 0.001, queues: int = 0
) -> float:
    """Return the median of p99 beside a slow key over p99 without one, of alternated `pairs` of runs.

    With `queues` the keys share so many beside the slow one, and have a mailbox each without.
    """
    ratios: list[float] = []
    for turn in range(pairs):
        slows = (0.0, _SLOW) if turn % 2 else (_SLOW, 0.0)
        p99 = {
            slow: await latency_p99(keys=keys, seconds=seconds, slow=slow, work=work, queues=queues if slow else 0)
            for slow in slows
        }
        ratios.append(p99[_SLOW] / p99[0.0])
    return median(ratios)


def main() -> None:
    """Measure and print the figures."""
    costs = asyncio.run(task_costs())
    figures = {
        "us per task": {name: round(cost, 2) for name, cost in costs.items()},
        "submitted / bare task": round(costs["submitted"] / costs["bare task"], 2),
        "p99 of others, slow key / none": round(asyncio.run(slow_key_ratio(pairs=9)), 2),
        "the same over 16 shared queues": round(asyncio.run(slow_key_ratio(pairs=3, queues=16)), 2),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
