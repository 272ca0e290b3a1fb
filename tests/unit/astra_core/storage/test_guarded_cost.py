"""What guarding a store costs a call, against what the call itself costs on the embedded engine, in the same run."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from astra_core.keyed import BlockingPool
from astra_core.resilience import (
    BreakerParameters,
    CircuitBreaker,
    Deadlines,
    Limiter,
    Policy,
    RetryBudget,
    RetryPolicy,
    Sweep,
    own_deadline_expired,
)
from astra_core.storage import (
    Collection,
    Insert,
    MemoryStore,
    SqliteStore,
    guarded,
    store_is_failing,
    store_said_nothing,
    wrote_nothing,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

THINGS = [Collection(name="things")]
ROUNDS, CALLS = 21, 200


def policy() -> Policy:
    """Every part, as a service has them."""
    sweep = Sweep()
    breaker = CircuitBreaker(
        name="store",
        parameters=BreakerParameters(window_seconds=10.0),
        is_failure=store_is_failing,
        ignore=store_said_nothing,
        cancellation_is_failure=own_deadline_expired,
    )
    retry = RetryPolicy("store", sweep=sweep, budget=RetryBudget(), retry_on=store_is_failing, is_unsent=wrote_nothing)
    deadline, limiter = Deadlines("store", sweep=sweep), Limiter("store", sweep=sweep)
    return Policy(name="store", deadline=deadline, retry=retry, breaker=breaker, limiter=limiter)


async def seconds(call: Callable[[], Awaitable[object]]) -> float:
    """What one of a round of calls took."""
    begin = perf_counter()
    for _ in range(CALLS):
        await call()
    return (perf_counter() - begin) / CALLS


async def test_a_guard_costs_little_of_what_it_guards(tmp_path: Path) -> None:
    """A read and a commit cost at most a quarter of SQLite's more, and the poll of the feed some microseconds."""
    writer, readers = BlockingPool("writer", threads=1, queue=4), BlockingPool("readers", threads=1, queue=4)
    async with (
        MemoryStore(collections=THINGS) as memory,
        SqliteStore(tmp_path / "store.db", collections=THINGS, writer=writer, readers=readers) as sqlite,
    ):
        every = policy()
        safe = guarded(memory, reads=every, writes=every)
        write = Insert(collection="things", key="a", value=b"v")
        await sqlite.commit([write])
        await memory.commit([write])
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "read": lambda: memory.get("things", "a"), "guarded read": lambda: safe.get("things", "a"),
            "commit": lambda: memory.commit([]), "guarded commit": lambda: safe.commit([]),
            "poll": memory.moved, "guarded poll": safe.moved,
            "SQLite read": lambda: sqlite.get("things", "a"), "SQLite commit": lambda: sqlite.commit([]),
        }  # fmt: skip
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):  # interleaved, so that a busy machine is busy for all of them
            for way, call in ways.items():
                times[way].append(await seconds(call))
    await writer.close()
    await readers.close()
    took = {way: median(found) * 1e6 for way, found in times.items()}
    for way in ("read", "commit", "poll"):
        print(f"{way}: a guard adds {took[f'guarded {way}'] - took[way]:.1f} us to", end=" ")
        print(f"SQLite's {took[f'SQLite {way}']:.0f}" if way != "poll" else "the poll")
    for way in ("read", "commit"):
        assert took[f"guarded {way}"] - took[way] < took[f"SQLite {way}"] / 4
