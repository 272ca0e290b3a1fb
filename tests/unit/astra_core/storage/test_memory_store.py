"""What only the store in memory could get wrong."""

from __future__ import annotations

import tracemalloc

from astra_core.storage import MemoryStore


async def test_asking_for_what_is_not_there_keeps_nothing() -> None:
    """Names of streams and feeds come from outside; each that was only asked for is forgotten."""
    async with MemoryStore(collections=[]) as store:

        async def ask(first: int, count: int) -> None:
            for number in range(first, first + count):
                assert await store.events("orders", f"{number}") == ()
                assert await store.tip(f"{number}") == 0
                assert (await store.changes(f"{number}", after=0)).keys == ()
                assert await store.trim(f"{number}", keep=1) == 0

        await ask(0, 100)
        tracemalloc.start()
        await ask(100, 2_000)
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kept < 20_000  # an entry takes over 100 bytes
