"""Several processes, one file: nothing is lost with a process, keys stay in order, and no two that live are doubled."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from astra_core.errors import ClaimLost
from astra_core.messaging import Outgoing
from tests.contract.messaging.conftest import datas, sqlite_engine
from tests.integration.messaging.peer import BATCH, KEYS, TOPIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from astra_core.messaging import SqliteMessaging

PEER = Path(__file__).with_name("peer.py")
KILLS = 200 if os.environ.get("ASTRA_TEST_FULL") else 12


class Seen(NamedTuple):
    """One message as a consumer noted it."""

    pid: int
    offset: int
    key: str
    number: int


class Peers:
    """Processes over one file, all ended at the end."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "messages.db"
        self.acks = folder / "acks"
        self.seen = folder / "seen"
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        """Start one."""
        run = [sys.executable, str(PEER), *map(str, arguments)]
        self.running.append(subprocess.Popen(run, stdout=subprocess.PIPE))
        return self.running[-1]

    def publisher(self, life: int) -> subprocess.Popen[bytes]:
        """Start one that publishes under keys of its own."""
        return self.start("publish", self.path, life, self.acks)

    def consumer(self, mode: str = "consume") -> subprocess.Popen[bytes]:
        """Start one that consumes, and wait until it is about to."""
        process = self.start(mode, self.path, "g", self.seen)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """As `kill -9` does."""
        self.running.remove(process)
        process.kill()
        process.communicate(timeout=60)

    def acked(self) -> set[tuple[str, int]]:
        """What was acknowledged to publishers."""
        return {(key, int(number)) for key, number in self._lines(self.acks)}

    def consumed(self) -> list[Seen]:
        """What consumers were given, in that order."""
        return [Seen(int(pid), int(offset), key, int(number)) for pid, offset, key, number in self._lines(self.seen)]

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds."""
        for _ in range(1_500):
            if condition():
                return
            time.sleep(0.02)
        raise AssertionError("it never came true")

    @staticmethod
    def _lines(path: Path) -> list[list[str]]:
        text = path.read_text() if path.exists() else ""
        return [line.split() for line in text.split("\n")[:-1]]


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    """No process yet."""
    peers = Peers(tmp_path)
    yield peers
    for process in tuple(peers.running):
        process.send_signal(signal.SIGCONT)
        peers.kill(process)


def first_of_each(consumed: list[Seen]) -> list[Seen]:
    """Each message where it was given for the first time: what a consumer keeps that knows duplicates."""
    known: dict[int, Seen] = {}
    for each in consumed:
        known.setdefault(each.offset, each)
    return list(known.values())


def assert_in_order(consumed: list[Seen]) -> None:
    """Without its duplicates the log is in order as a whole, and every key without a hole."""
    firsts = first_of_each(consumed)
    assert [each.offset for each in firsts] == list(range(1, len(firsts) + 1))
    numbers: dict[str, int] = {}
    for each in firsts:
        assert each.number == numbers.get(each.key, 0)
        numbers[each.key] = each.number + 1


def test_two_publish_and_two_consume_by_turns(peers: Peers) -> None:
    """While all of them live every message is given exactly once, in order, to one or the other."""
    consumers = [peers.consumer("turns"), peers.consumer("turns")]
    publishers = [peers.start("some", peers.path, life, peers.acks, 20) for life in range(2)]
    assert [process.wait(60) for process in publishers] == [0, 0]
    total = 2 * KEYS * BATCH * 20
    peers.until(lambda: len(peers.consumed()) >= total)
    consumed = peers.consumed()
    assert [each.offset for each in consumed] == list(range(1, total + 1))
    assert_in_order(consumed)
    assert {(each.key, each.number) for each in consumed} == peers.acked()
    assert {each.pid for each in consumed} == {process.pid for process in consumers}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_random_nothing_is_lost_and_keys_stay_in_order(peers: Peers) -> None:
    """What was acknowledged is given, in order; what is given twice was last given to one that was killed."""
    seed = int(os.environ.get("ASTRA_TEST_SEED", "0")) or random.randrange(1, 2**31)
    rng = random.Random(seed)
    publishers = [peers.publisher(life) for life in range(2)]
    consumers = [peers.consumer() for _ in range(2)]
    killed: set[int] = set()
    for life in range(2, 2 + KILLS):
        time.sleep(rng.uniform(0.05, 0.3))
        if rng.random() < 0.5:
            peers.kill(publishers.pop(rng.randrange(2)))
            publishers.append(peers.publisher(life))
        else:
            victim = consumers.pop(rng.randrange(2))
            killed.add(victim.pid)
            peers.kill(victim)
            consumers.append(peers.consumer())
    for process in publishers:
        peers.kill(process)
    peers.until(lambda: peers.acked() <= {(each.key, each.number) for each in peers.consumed()})
    consumed, acked = peers.consumed(), peers.acked()
    print(
        f"kills: ASTRA_TEST_SEED={seed}; {KILLS} kills, {len(killed)} of them of consumers; {len(acked)} acknowledged, "
        f"{len(first_of_each(consumed))} given, {len(consumed) - len(first_of_each(consumed))} of them again"
    )
    assert len(acked) > 100
    assert_in_order(consumed)
    givers: dict[int, int] = {}
    for each in consumed:
        if each.offset in givers:
            assert givers[each.offset] in killed
            assert givers[each.offset] != each.pid
        givers[each.offset] = each.pid


async def acknowledged(engine: SqliteMessaging, position: int) -> None:
    """Wait until the group has come so far: a process that is stopped before may hold the file's write lock."""
    for _ in range(1_500):
        if (await engine.topics())[0].groups[0].position >= position:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came true")


async def test_a_consumer_goes_on_where_a_killed_one_stopped(peers: Peers) -> None:
    """The kernel takes the lock of the dead: what it had not acknowledged is given to the next one."""
    async with sqlite_engine(peers.path) as engine:
        consumer = await asyncio.to_thread(peers.consumer)
        publisher = engine.publisher()
        await publisher.publish([Outgoing(TOPIC, "k", b"0")])
        await asyncio.to_thread(peers.until, lambda: len(peers.consumed()) == 1)
        next_one = engine.consumer(TOPIC, group="g")
        assert await next_one.receive(wait=0.2) == ()
        await acknowledged(engine, 1)
        os.kill(consumer.pid, signal.SIGSTOP)
        await publisher.publish([Outgoing(TOPIC, "k", b"1")])
        assert await next_one.receive(wait=0.5) == ()
        await asyncio.to_thread(peers.kill, consumer)
        assert datas(await next_one.receive(wait=30.0))[-1:] == [b"1"]


async def test_a_consumer_that_is_stopped_is_not_doubled(peers: Peers) -> None:
    """It lives, so nobody else is given its messages, and it goes on when it wakes."""
    async with sqlite_engine(peers.path) as engine:
        stopped, other = await asyncio.to_thread(peers.consumer), await asyncio.to_thread(peers.consumer)
        publisher = engine.publisher()
        await publisher.publish([Outgoing(TOPIC, "k", b"0")])
        await asyncio.to_thread(peers.until, lambda: len(peers.consumed()) == 1)
        holder = peers.consumed()[0].pid
        assert holder in {stopped.pid, other.pid}
        await acknowledged(engine, 1)
        os.kill(holder, signal.SIGSTOP)
        await publisher.publish([Outgoing(TOPIC, "k", b"%d" % number) for number in range(1, 50)])
        await asyncio.sleep(0.5)
        assert len(peers.consumed()) == 1
        os.kill(holder, signal.SIGCONT)
        await asyncio.to_thread(peers.until, lambda: len(peers.consumed()) == 50)
        assert {each.pid for each in peers.consumed()} == {holder}


async def test_a_lock_file_that_was_deleted_lets_no_stale_position_pass(tmp_path: Path) -> None:
    """Two hold a lock then, on two files; the number of the claim tells the position of which one counts."""
    path = tmp_path / "messages.db"
    async with sqlite_engine(path) as first, sqlite_engine(path) as second:
        await first.publisher().publish([Outgoing(TOPIC, "k", b"1"), Outgoing(TOPIC, "k", b"2")])
        old, new = first.consumer(TOPIC, group="g"), second.consumer(TOPIC, group="g")
        received = await old.receive()
        (lock,) = (tmp_path / "messages.db-groups").iterdir()
        lock.unlink()
        assert datas(await new.receive()) == [b"1", b"2"]
        with pytest.raises(ClaimLost):
            await old.acknowledge(received[-1])
        await new.acknowledge(received[0])
        (state,) = await first.topics()
        assert state.groups[0].position == received[0].offset
        assert await old.receive() == ()


async def test_messages_of_another_process_wake_a_consumer(peers: Peers) -> None:
    """Each is there within the poll and the time of a read; on the median that is less than the poll and a little."""
    async with sqlite_engine(peers.path, poll=0.05) as engine:
        process = await asyncio.to_thread(peers.start, "stamp", peers.path, 60)
        consumer, delays = engine.consumer(TOPIC, group="g"), list[float]()
        while len(delays) < 60:
            for message in await consumer.receive(limit=10, wait=30.0):
                delays.append(time.monotonic() - float(message.data))
        assert await asyncio.to_thread(process.wait, 60) == 0
        delays.sort()
        print(f"p50 {delays[30]:.4f} s, longest {delays[-1]:.4f} s at a poll of 0.05 s")
        assert delays[30] < 10 * 0.05
