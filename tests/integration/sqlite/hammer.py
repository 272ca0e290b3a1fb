"""A process that commits as fast as it can, for tests that race it, starve it of disk or kill it.

python hammer.py race PATH BASE SECONDS     waits for a line; prints its commits and waits as JSON
python hammer.py acks PATH BASE             prints each acknowledged row, until it is killed
python hammer.py full PATH BASE BYTES       meets a file size limit, then the limit is lifted; prints JSON
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:] = [str(ROOT), *sys.path[1:]]

from astra_core.errors import StoreUnavailable  # noqa: E402
from astra_core.keyed import BlockingPool  # noqa: E402
from astra_core.sqlite import Database  # noqa: E402
from tests.integration.sqlite.conftest import SCHEMA  # noqa: E402
from tests.integration.sqlite.rows import insert  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

COMMITTERS = 8
DATA = b"x" * 200


@asynccontextmanager
async def opened(path: str) -> AsyncIterator[Database]:
    """Open the engine with pools of its own."""
    writer, readers = BlockingPool("writer", threads=1, queue=4), BlockingPool("readers", threads=1, queue=4)
    async with Database(path, schema=SCHEMA, writer=writer, readers=readers) as database:
        yield database
    await writer.close()
    await readers.close()


async def race(path: str, base: str, seconds: str) -> None:
    """Saturate the writer from several tasks for some seconds."""
    waits: list[float] = []
    failed = 0

    async def committer(row: int, end: float) -> None:
        nonlocal failed
        while (begun := time.monotonic()) < end:
            try:
                await database.write(insert(row, DATA))
            except StoreUnavailable:
                failed += 1
            waits.append(time.monotonic() - begun)
            row += COMMITTERS

    async with opened(path) as database:
        print("ready", flush=True)
        sys.stdin.readline()
        end = time.monotonic() + float(seconds)
        await asyncio.gather(*(committer(int(base) + n, end) for n in range(COMMITTERS)))
    waits.sort()
    figures = {
        "commits": len(waits),
        "failed": failed,
        "mean": sum(waits) / len(waits),
        "p99": waits[int(len(waits) * 0.99)],
        "max": waits[-1],
    }
    print(json.dumps(figures), flush=True)


async def acks(path: str, base: str) -> None:
    """Print a row's number once its commit was acknowledged."""

    async def committer(row: int) -> None:
        while True:
            await database.write(insert(row, DATA))
            os.write(1, b"%d\n" % row)
            row += COMMITTERS

    async with opened(path) as database:
        await asyncio.gather(*(committer(int(base) + n) for n in range(COMMITTERS)))


async def full(path: str, base: str, size: str) -> None:
    """Write until the disk refuses, then some more in vain, then with space again."""
    async with opened(path) as database:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), hard))
        acked: list[int] = []
        reasons: set[str] = set()
        row = int(base)
        for _ in range(60):
            done = await asyncio.gather(
                *(database.write(insert(row + n, DATA * 10)) for n in range(10)), return_exceptions=True
            )
            acked += [result for result in done if isinstance(result, int)]
            reasons |= {f"{type(result).__name__}: {result}" for result in done if not isinstance(result, int)}
            row += 10
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        acked.append(await database.write(insert(row, DATA)))
    print(json.dumps({"acked": acked, "reasons": sorted(reasons), "last": row}), flush=True)


if __name__ == "__main__":
    modes: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {"race": race, "acks": acks, "full": full}
    asyncio.run(modes[sys.argv[1]](*sys.argv[2:]))
