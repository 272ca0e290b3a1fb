"""A process that publishes or consumes, for tests that run several and kill them.

python peer.py publish PATH LIFE ACKS     publishes until it is killed; appends what was acknowledged to ACKS
python peer.py some PATH LIFE ACKS COUNT  the same, COUNT batches
python peer.py consume PATH GROUP SEEN    consumes until it is killed; appends what it is given to SEEN, then
                                          acknowledges
python peer.py turns PATH GROUP SEEN      the same, and releases after each batch
python peer.py stamp PATH COUNT           publishes COUNT times the moment at which it publishes
python peer.py full PATH BYTES            meets a file size limit, then the limit is lifted; prints JSON

A line of ACKS is `key number`, a line of SEEN `pid offset key number`; both are appended with one write a batch, so
lines of several processes stand in the order in which they were written.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:] = [str(ROOT), *sys.path[1:]]

from astra_core.errors import MessagingUnavailable  # noqa: E402
from astra_core.keyed import BlockingPool  # noqa: E402
from astra_core.messaging import Outgoing, Retain, SqliteMessaging  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

TOPIC = "work"
KEYS = 4
BATCH = 5


@asynccontextmanager
async def opened(path: str, **options: Any) -> AsyncIterator[SqliteMessaging]:
    """Open the engine with pools of its own."""
    writer, readers = BlockingPool("writer", threads=1, queue=4), BlockingPool("readers", threads=1, queue=16)
    async with SqliteMessaging(path, writer=writer, readers=readers, retain=Retain(slack=100), **options) as engine:
        yield engine
    await writer.close()
    await readers.close()


def append(path: str, lines: Iterable[str]) -> None:
    """Append lines in one write."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, "".join(f"{line}\n" for line in lines).encode())
    os.close(fd)


async def publish(path: str, life: str, acks: str, batches: str = "") -> None:
    """Publish batches, several keys at once, each key's messages in order."""

    async def one(key: str) -> None:
        for number in range(0, int(batches) * BATCH, BATCH) if batches else count(0, BATCH):
            numbers = range(number, number + BATCH)
            await publisher.publish([Outgoing(TOPIC, key, b"%d" % each, f"{key}.{each}") for each in numbers])
            append(acks, (f"{key} {each}" for each in numbers))

    async with opened(path) as engine:
        publisher = engine.publisher()
        await asyncio.gather(*(one(f"{life}-{key}") for key in range(KEYS)))


async def consume(path: str, group: str, seen: str, *, turns: bool = False) -> None:
    """Note what is given, then acknowledge it."""
    async with opened(path) as engine:
        consumer = engine.consumer(TOPIC, group=group)
        print("ready", flush=True)
        while True:
            messages = await consumer.receive(limit=40, wait=0.2)
            if messages:
                append(seen, (f"{os.getpid()} {m.offset} {m.key} {m.data.decode()}" for m in messages))
                await consumer.acknowledge(messages[-1])
            if turns:
                await consumer.release()
                await asyncio.sleep(0.1)  # longer than the other one's poll, so that it is its turn


async def stamp(path: str, times: str) -> None:
    """Publish the moment of publishing, now and then."""
    async with opened(path) as engine:
        publisher = engine.publisher()
        for number in range(int(times)):
            await asyncio.sleep(0.013 + 0.001 * (number % 7))
            await publisher.publish([Outgoing(TOPIC, "k", b"%r" % time.monotonic())])


async def full(path: str, size: str) -> None:
    """Publish until the disk refuses, then some more in vain, then with space again."""
    async with opened(path) as engine:
        publisher = engine.publisher()
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), hard))
        acked: list[int] = []
        reasons: set[str] = set()
        for number in range(600):
            try:
                await publisher.publish([Outgoing(TOPIC, "k", b"%d " % number + b"x" * 2_000)])
                acked.append(number)
            except MessagingUnavailable as error:
                reasons.add(f"{type(error).__name__}: {error}")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await publisher.publish([Outgoing(TOPIC, "k", b"600 ")])
        found: list[int] = []
        consumer = engine.consumer(TOPIC, group="g")
        while messages := await consumer.receive():
            found += [int(message.data.split()[0]) for message in messages]
    print(json.dumps({"acked": [*acked, 600], "found": found, "reasons": sorted(reasons)}), flush=True)


async def turns(path: str, group: str, seen: str) -> None:
    """Consume in turns with the others."""
    await consume(path, group, seen, turns=True)


if __name__ == "__main__":
    modes: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
        "publish": publish,
        "some": publish,
        "consume": consume,
        "turns": turns,
        "stamp": stamp,
        "full": full,
    }
    asyncio.run(modes[sys.argv[1]](*sys.argv[2:]))
