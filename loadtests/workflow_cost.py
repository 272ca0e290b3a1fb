"""What a step of a workflow costs over the commit of its record alone, each against its reference in the same run.

Prints JSON, in microseconds a call and as ratios, the median over alternated rounds. The reference reads a record and
replaces it at its version. A `send` does that and decides, and its commit holds an entry of the history as well, every
other time a message, and the id if there is one. In memory one sees what the library itself costs; over SQLite, one
sender at a time and 32 at once, what is left of that beside the disk. `relay`: messages a second from the outbox of one
file to a log in another, and the time of that over publishing the same batches alone.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from astra_core.fsm import Machine, Transition
from astra_core.keyed import BlockingPool
from astra_core.messaging import Outgoing, SqliteMessaging
from astra_core.storage import MemoryStore, Publish, Replace, SqliteStore
from astra_core.workflow import Relay, Runner, Workflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from astra_core.storage import StoreEngine

__all__ = ["main"]

_ROUNDS = 15
_MICROSECONDS = 1e6
_BATCH = 200


class Lamp(Enum):
    """Two states."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class Press:
    """The switch."""

    who: str = "ann"


LAMP: Workflow[Lamp, Press, None, int] = Workflow(
    machine=Machine(
        name="lamp",
        states=Lamp,
        events=(Press,),
        initial=Lamp.OFF,
        transitions=(Transition(Lamp.OFF, Press, Lamp.ON, effects=("shine",)), Transition(Lamp.ON, Press, Lamp.OFF)),
    ),
    data=int,
)


class Subject:
    """One store with lamps, and the two ways to change one; each key belongs to one caller."""

    def __init__(self, store: StoreEngine) -> None:
        self._store = store
        self._runner = Runner(LAMP, store)
        self._ids = count()

    async def light(self, keys: int) -> None:
        """Make the lamps."""
        for key in range(keys):
            await self._runner.begin(str(key), 0)

    async def replace(self, key: str) -> None:
        """Read a record and replace it: the reference."""
        record = await self._store.get("lamp", key)
        assert record is not None
        state = {"state": (("on",),)}
        await self._store.commit(
            [Replace(collection="lamp", key=key, version=record.version, value=record.value, entries=state)]
        )

    async def send(self, key: str) -> None:
        """Send an event without a name."""
        await self._runner.send(key, Press())

    async def send_once(self, key: str) -> None:
        """Send an event that a duplicate would be told by."""
        await self._runner.send(key, Press(), id=str(next(self._ids)))


async def costs(store: StoreEngine, *, senders: int, calls: int) -> dict[str, float]:
    """Return the time of each way, and how many times the reference it is."""
    subject = Subject(store)
    await subject.light(senders)
    ways = {"replace": subject.replace, "send": subject.send, "send with an id": subject.send_once}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, way in ways.items():
            times[name].append(await _seconds(way, senders, calls) / (senders * calls) * _MICROSECONDS)
    found = {f"us {name}": round(median(each), 1) for name, each in times.items()}
    for name in ("send", "send with an id"):
        pairs = zip(times[name], times["replace"], strict=True)
        found[f"{name} / replace"] = round(median(one / other for one, other in pairs), 2)
    return found


async def _seconds(way: Callable[[str], Awaitable[None]], senders: int, calls: int) -> float:
    async def sender(key: str) -> None:
        for _ in range(calls):
            await way(key)

    began = perf_counter()
    await asyncio.gather(*(sender(str(key)) for key in range(senders)))
    return perf_counter() - began


@asynccontextmanager
async def sqlite() -> AsyncIterator[StoreEngine]:
    """Open a store in a file of its own."""
    writer, readers = BlockingPool("writer", threads=1, queue=4), BlockingPool("readers", threads=2, queue=64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lamps.db"
        async with SqliteStore(path, collections=LAMP.collections, writer=writer, readers=readers) as store:
            yield store
        await writer.close()
        await readers.close()


async def measure() -> dict[str, dict[str, float]]:
    """Measure every store."""
    found = {}
    async with MemoryStore(collections=LAMP.collections) as memory:
        found["memory"] = await costs(memory, senders=1, calls=300)
    for senders, calls in ((1, 50), (32, 10)):
        async with sqlite() as store:
            found[f"sqlite, {senders} at once"] = await costs(store, senders=senders, calls=calls)
    found["relay"] = await relaying()
    return found


async def relaying() -> dict[str, float]:
    """Return how fast a relay is, and what reading and marking add to the publishing."""
    rates, ratios = [], []
    writer, readers = BlockingPool("log writer", threads=1, queue=4), BlockingPool("log readers", threads=1, queue=4)
    with tempfile.TemporaryDirectory() as folder:
        log = SqliteMessaging(Path(folder) / "log.db", writer=writer, readers=readers)
        async with sqlite() as store, log:
            relay = Relay(store, log.publisher(), batch=_BATCH)
            for turn in range(_ROUNDS):
                outgoing = [Outgoing("t", f"k{number % 7}", b"x" * 200, f"{turn}-{number}") for number in range(2_000)]
                await store.commit([Publish(topic=m.topic, key=m.key, data=m.data, id=m.id) for m in outgoing])
                began = perf_counter()
                while await relay.round():
                    pass
                relayed = perf_counter()
                for start in range(0, len(outgoing), _BATCH):
                    await log.publish(outgoing[start : start + _BATCH])
                rates.append(len(outgoing) / (relayed - began))
                ratios.append((relayed - began) / (perf_counter() - relayed))
    await writer.close()
    await readers.close()
    return {"messages a second": round(median(rates)), "relay / publish": round(median(ratios), 2)}


def main() -> None:
    """Measure and print."""
    print(json.dumps(asyncio.run(measure()), indent=2))


if __name__ == "__main__":
    main()
