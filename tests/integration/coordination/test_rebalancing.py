"""Order per key while the members change under sixteen producers: nothing overtakes, is lost, or happens twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from random import Random, randrange
from typing import TYPE_CHECKING

import pytest

from tests.integration.coordination.opened import opened
from tests.integration.coordination.producer import Producer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from astra_core.coordination import Members
    from astra_core.storage import SqliteStore

NODE = Path(__file__).with_name("node.py")
FULL = os.environ.get("ASTRA_TEST_FULL") == "1"
EVENTS = 100_000 if FULL else 10_000
CHANGES = 24 if FULL else 6
PRODUCERS, KEYS, BESIDE, TTL = 16, 200, 8, 1.5


class Nodes:
    """Nodes in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.started = 0
        self.gone: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start one more."""
        name = f"node-{self.started}"
        self.started += 1
        self.running[name] = subprocess.Popen([sys.executable, str(NODE), str(self.folder), name, str(TTL)])

    def send(self, name: str, number: int) -> None:
        """Send one a signal; after SIGTERM or SIGKILL it counts as gone."""
        self.running[name].send_signal(number)
        if number in {signal.SIGTERM, signal.SIGKILL}:
            self.gone.append(self.running.pop(name))

    def end(self) -> None:
        """Kill all that are left."""
        for process in [*self.gone, *self.running.values()]:
            process.kill()
            process.wait()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """No node yet."""
    made = Nodes(tmp_path)
    yield made
    made.end()


async def until(what: str, condition: Callable[[], bool], seconds: float = 300.0) -> None:
    """Wait until `condition()` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not {what} within {seconds} s"
        await asyncio.sleep(0.02)


async def joined(members: Members, names: Collection[str]) -> None:
    """Wait until these are the members."""
    view = await members.view()
    end = time.monotonic() + 30.0
    while {member.name for member in view.members} != set(names):
        assert time.monotonic() < end, f"{view.members} are not {names} within 30 s"
        view = await members.changed(view.revision, wait=1.0)


async def unsettle(nodes: Nodes, members: Members, kind: str, chance: Random) -> None:
    """Let one node join, leave, die, or stand still until its membership is over and then go on."""
    name = chance.choice(sorted(nodes.running))
    if kind == "join":
        nodes.start()
    elif kind == "leave":
        nodes.send(name, signal.SIGTERM)
    elif kind == "kill":
        nodes.send(name, signal.SIGKILL)
    else:
        nodes.send(name, signal.SIGSTOP)
        await asyncio.sleep(2 * TTL)
        nodes.send(name, signal.SIGCONT)
    await joined(members, nodes.running)


async def unsettle_all(nodes: Nodes, members: Members, producers: list[Producer], chance: Random) -> list[str]:
    """Change the members again and again, spread over the whole of the events; return what was done."""
    kinds = [kind for _ in range(CHANGES // 6) for kind in ("join", "leave", "pause", "join", "kill", "pause")]
    for place, kind in enumerate(kinds, start=1):
        share = EVENTS * place / (len(kinds) + 1)
        await until(f"{share:.0f} events done", lambda: sum(each.done for each in producers) >= share)  # noqa: B023
        await unsettle(nodes, members, kind, chance)
    return kinds


async def check(store: SqliteStore, producers: list[Producer], keys: list[str]) -> int:
    """Check each key's history: each producer's events, each once, in its order; return the number of epochs seen."""
    inversions = repeated = epochs = 0
    for key in keys:
        history = [json.loads(event.data) for event in await store.events("handled", key, limit=EVENTS)]
        epochs += len({epoch for *_, epoch in history})
        assert [epoch for *_, epoch in history] == sorted(epoch for *_, epoch in history)
        for producer in producers:
            numbers = [number for sender, number, _ in history if sender == producer.number]
            inversions += sum(after < before for before, after in pairwise(numbers))
            repeated += len(numbers) - len(set(numbers))
            assert set(numbers) == set(range(1, producer.sent[key] + 1))
    assert (inversions, repeated) == (0, 0)
    return epochs


@pytest.mark.slow
@pytest.mark.timeout(1800 if FULL else 180)
async def test_order_per_key_under_rebalancing(nodes: Nodes, tmp_path: Path) -> None:
    """Members join, leave, die and stand still: no event is lost, doubled, or overtaken by a later one of its key."""
    seed = int(os.environ.get("ASTRA_TEST_SEED", "0")) or randrange(1, 2**31)
    chance, keys = Random(seed), [f"key-{number}" for number in range(KEYS)]
    async with opened(tmp_path) as (store, members):
        for _ in range(3):
            nodes.start()
        await joined(members, nodes.running)
        producers = [
            Producer(number, members, keys=keys, chance=Random(f"{seed} {number}")) for number in range(PRODUCERS)
        ]
        began = time.monotonic()
        unsettling = asyncio.create_task(unsettle_all(nodes, members, producers, chance))
        sending = (producer.run(EVENTS // PRODUCERS, beside=BESIDE) for producer in producers)
        kinds, *_ = await asyncio.gather(unsettling, *sending)
        took = time.monotonic() - began
        epochs = await check(store, producers, keys)
    told = {what: sum(getattr(each, what) for each in producers) for what in ("done", "again", "moved", "lost")}
    print(f"ASTRA_TEST_SEED={seed}: {told} in {took:.1f} s, {kinds}, {epochs} epochs of {KEYS} keys")
    assert told["done"] == EVENTS // PRODUCERS * PRODUCERS
    assert epochs > 1.1 * KEYS
    assert told["moved"] > 0
