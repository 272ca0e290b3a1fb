"""Makes things with entries of a deferred index in a store, and prints the number of each that was acknowledged."""

from __future__ import annotations

import asyncio
import os
import sys

from astra_core.keyed import BlockingPool
from astra_core.storage import Collection, Delete, Index, Insert, SqliteStore

THINGS = Collection(name="things", indexes=(Index(name="mark", parts=2, multi=True, deferred=True),))
SETTLE_AT = 64
WRITERS = 8
EVERY = 10
"""One thing of so many is deleted again, after some others were made."""


def mark(number: int) -> int:
    """The first part of a thing's entry: not in the order of numbers."""
    return number * 7919 % 10_007


async def run(path: str, base: int) -> None:
    """Write until somebody ends the process."""
    writer, readers = BlockingPool("writer", threads=1, queue=64), BlockingPool("readers", threads=1, queue=64)
    store = SqliteStore(path, collections=[THINGS], writer=writer, readers=readers, settle_at=SETTLE_AT)
    await store.open()

    async def write(first: int) -> None:
        for number in range(first, first + 10**6, WRITERS):
            entries = {"mark": ((mark(number), number),)}
            await store.commit([Insert(collection="things", key=f"k{number}", value=b"v", entries=entries)])
            os.write(1, b"+%d\n" % number)
            old = number - 40 * WRITERS
            if old >= first and old % EVERY == 0:
                await store.commit([Delete(collection="things", key=f"k{old}")])
                os.write(1, b"-%d\n" % old)

    await asyncio.gather(*(write(base + n) for n in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2])))
