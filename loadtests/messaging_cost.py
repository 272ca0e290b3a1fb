"""What messages over SQLite cost, each against its reference in the same run.

Prints JSON. `published a second`: by 32 callers at once, a message of 200 bytes each, and the same rows inserted into
one table by the bare embedded engine; by one caller in batches of 100; `received a second`: a group that reads and
acknowledges pages of 100, alone. `delay`: from before the publish to its receipt in another process, which looks every
50 ms, against a publish alone. `waiting`: the share of a core that one consumer takes that waits for news, and one that
stands by for another to die, and of as many bare sleeps.

The median of rounds, subject and reference in turn.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from astra_core.keyed import BlockingPool
from astra_core.messaging import Outgoing, SqliteMessaging
from astra_core.sqlite import Database, Schema

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["main"]

_CALLERS = 32
_EACH = 100
_PAGE = 100
_ROUNDS = 5
_DELAYS = 200
_WAITING = 5.0
_POLL = 0.05
_DATA = b"x" * 200
_TABLE = Schema(application_id=0x7E57, migrations=(("CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB)",),))


@asynccontextmanager
async def pools() -> AsyncIterator[dict[str, Any]]:
    """The threads of one engine."""
    writer, readers = BlockingPool("writer", threads=1, queue=4), BlockingPool("readers", threads=2, queue=64)
    try:
        yield {"writer": writer, "readers": readers}
    finally:
        await writer.close()
        await readers.close()


async def rate(count: int, work: Awaitable[Any]) -> float:
    """How many a second, when `work` is about `count`."""
    began = time.perf_counter()
    await work
    return count / (time.perf_counter() - began)


async def by_many(once: Callable[[], Awaitable[Any]]) -> float:
    """Calls a second of many callers at once."""

    async def caller() -> None:
        for _ in range(_EACH):
            await once()

    return await rate(_CALLERS * _EACH, asyncio.gather(*(caller() for _ in range(_CALLERS))))


def insert(connection: sqlite3.Connection) -> None:
    """What the reference does a call."""
    connection.execute("INSERT INTO rows (data) VALUES (?)", (_DATA,))


async def throughput(folder: Path) -> dict[str, float]:
    """Rates of publishing and receiving."""
    message = Outgoing("t", "key", _DATA, "an-id-of-some-length")
    found: dict[str, list[float]] = {"single": [], "bare": [], "batches": [], "received": []}
    async with (
        pools() as ours,
        pools() as theirs,
        SqliteMessaging(folder / "messages.db", **ours) as engine,
        Database(folder / "bare.db", schema=_TABLE, **theirs) as bare,
    ):
        publisher, consumer = engine.publisher(), engine.consumer("t", group="g")

        async def batches() -> None:
            for _ in range(_EACH):
                await publisher.publish([message] * _PAGE)

        async def drain() -> None:
            while messages := await consumer.receive(limit=_PAGE):
                await consumer.acknowledge(messages[-1])

        for _ in range(_ROUNDS):
            found["single"].append(await by_many(lambda: publisher.publish([message])))
            found["bare"].append(await by_many(lambda: bare.write(insert)))
            found["batches"].append(await rate(_EACH * _PAGE, batches()))
            found["received"].append(await rate(_EACH * _PAGE + _CALLERS * _EACH, drain()))
    return {name: median(rates) for name, rates in found.items()}


async def stamp(path: str) -> None:
    """Publish the moment at which it is published, at odd times; the process at the other end of `delays`."""
    async with pools() as ours, SqliteMessaging(path, **ours) as engine:
        publisher = engine.publisher()
        for number in range(_DELAYS):
            await asyncio.sleep(0.013 + 0.001 * (number % 17))
            await publisher.publish([Outgoing("delay", "k", b"%r" % time.monotonic())])


def stamps(path: str) -> None:
    """See `stamp`."""
    asyncio.run(stamp(path))


async def delays(folder: Path) -> list[float]:
    """Seconds from before a publish to the receipt in this process."""
    path = str(folder / "messages.db")
    async with pools() as ours, SqliteMessaging(path, **ours) as engine:
        consumer, found = engine.consumer("delay", group="g"), list[float]()
        process = multiprocessing.get_context("spawn").Process(target=stamps, args=(path,))
        process.start()
        while len(found) < _DELAYS:
            messages = await consumer.receive(wait=30.0)
            found += [time.monotonic() - float(message.data) for message in messages]
            await consumer.acknowledge(messages[-1])
        await asyncio.to_thread(process.join)
    return found


async def alone(folder: Path) -> list[float]:
    """Seconds that a publish takes by itself."""
    found: list[float] = []
    async with pools() as ours, SqliteMessaging(folder / "messages.db", **ours) as engine:
        publisher = engine.publisher()
        for _ in range(_DELAYS):
            began = time.monotonic()
            await publisher.publish([Outgoing("alone", "k", b"%r" % began)])
            found.append(time.monotonic() - began)
    return found


async def waiting(folder: Path) -> dict[str, float]:
    """Shares of a core that waiting takes."""
    found: dict[str, float] = {}
    async with pools() as ours, SqliteMessaging(folder / "messages.db", **ours) as engine:
        holder, other = engine.consumer("silent", group="g"), engine.consumer("silent", group="g")
        for name, consumer in (("for news", holder), ("standing by", other)):
            await consumer.receive()
            began = time.process_time()
            await consumer.receive(wait=_WAITING)
            found[name] = (time.process_time() - began) / _WAITING
        began = time.process_time()
        for _ in range(int(_WAITING / _POLL)):
            await asyncio.sleep(_POLL)
        found["bare sleeps"] = (time.process_time() - began) / _WAITING
    return found


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = asyncio.run(throughput(folder))
        took, single = asyncio.run(delays(folder)), asyncio.run(alone(folder))
        shares = asyncio.run(waiting(folder))
    figures = {
        "published a second, one by one, 32 at once": round(rates["single"]),
        "of the bare engine's rows": round(rates["single"] / rates["bare"], 2),
        "published a second, batches of 100": round(rates["batches"]),
        "received and acknowledged a second, pages of 100": round(rates["received"]),
        "delay to another process, ms": {
            "p50": round(median(took) * 1e3, 1),
            "p99": round(quantiles(took, n=100)[98] * 1e3, 1),
            "longest": round(max(took) * 1e3, 1),
        },
        "of it the publish, ms": {
            "p50": round(median(single) * 1e3, 1),
            "p99": round(quantiles(single, n=100)[98] * 1e3, 1),
        },
        "percent of a core while waiting": {name: round(share * 100, 2) for name, share in shares.items()},
    }
    json.dump(figures, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
