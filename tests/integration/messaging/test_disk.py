"""What messages take of a disk, and a disk that takes no more of them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from astra_core.errors import MessagingError, MessagingUnavailable
from astra_core.messaging import Outgoing, Retain
from astra_core.messaging.sqlite.append import units
from astra_core.sqlite import connect
from tests.contract.messaging.conftest import datas, drain, sqlite_engine

PEER = Path(__file__).with_name("peer.py")


class Connections:
    """Opens connections and keeps the writer's, to narrow its disk and widen it again."""

    def __init__(self) -> None:
        self.opened: list[sqlite3.Connection] = []

    def __call__(self, path: str, /) -> sqlite3.Connection:
        """Open one more; the first is the writer's."""
        self.opened.append(connect(path))
        return self.opened[-1]

    def set(self, pragma: str) -> None:
        """Change a pragma of the writer."""
        self.opened[0].execute(f"PRAGMA {pragma}").fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where no file is yet."""
    return tmp_path / "messages.db"


def size_of(path: Path) -> int:
    """Bytes of a file."""
    return path.stat().st_size


async def test_a_group_that_is_gone_does_not_fill_the_disk(path: Path) -> None:
    """Ten times the bound was published; the file is not much larger than the bound, and the loss is counted."""
    bound = 1_000_000
    async with sqlite_engine(path, retain=Retain(weight=bound)) as engine:
        publisher, gone = engine.publisher(), engine.consumer("t", group="gone")
        await publisher.publish([Outgoing("t", "k", b"")])
        await gone.receive()
        await gone.release()
        for number in range(100):
            await publisher.publish([Outgoing("t", "k", b"%03d" % number + b"x" * 933) for _ in range(100)])
        (state,) = await engine.topics()
        assert state.weight <= bound
        assert state.groups[0].lost == state.last - state.kept
        assert datas(await gone.receive(limit=1))[0][:3] == b"%03d" % (100 - bound // 100_000)
    assert size_of(path) < 2 * bound


async def test_what_every_group_has_read_takes_no_room(path: Path) -> None:
    """The file does not grow with what goes through it."""
    async with sqlite_engine(path, retain=Retain(slack=100)) as engine:
        publisher = engine.publisher()
        groups = [engine.consumer("t", group=name) for name in ("fast", "slow")]
        for _ in range(100):
            await publisher.publish([Outgoing("t", "k", b"x" * 1_000) for _ in range(100)])
            for consumer in groups:
                await consumer.acknowledge((await drain(consumer))[-1])
    assert size_of(path) < 1_000_000


async def test_a_long_backlog_goes_in_bounded_steps(path: Path) -> None:
    """One acknowledgement of very many drops a part of them; those that follow drop the rest."""
    async with sqlite_engine(path, retain=Retain(slack=0)) as engine:
        await engine.publisher().publish([Outgoing("t", "k", b"") for _ in range(12_000)])
        consumer = engine.consumer("t", group="g")
        last = (await drain(consumer, limit=1_000))[-1]
        kept = []
        for _ in range(4):
            await consumer.acknowledge(last)
            kept.append((await engine.topics())[0].kept)
        assert kept == [7_000, 2_000, 0, 0]


async def test_pages_and_units_are_bounded_in_bytes(path: Path) -> None:
    """However many messages of a megabyte are asked for or published at once, a few go together."""
    heard: list[int] = []
    large = [Outgoing("t", "k", bytes([number]) * 1_000_000) for number in range(20)]
    async with sqlite_engine(path) as engine:
        await engine.publisher().publish(large)
        consumer = engine.consumer("t", group="g")
        while messages := await consumer.receive():
            heard.append(len(messages))
    assert heard == [5, 5, 5, 5]
    assert [len(unit) for unit in units(large)] == [4] * 5
    assert [len(unit) for unit in units([Outgoing("t", "k", b"")] * 2_500)] == [1_000, 1_000, 500]
    assert list(units([])) == []


async def test_a_full_file_refuses_messages_and_loses_none(path: Path) -> None:
    """Publishers are told; consumers go on with what was acknowledged, and all of it is there."""
    connections = Connections()
    async with sqlite_engine(path, connect=connections) as engine:
        publisher, consumer = engine.publisher(), engine.consumer("t", group="g")
        await consumer.receive()
        connections.set("max_page_count=60")
        acked: list[bytes] = []
        refused: list[str] = []
        for number in range(60):
            data = b"%d " % number + b"x" * (20_000 if number % 3 else 10)
            try:
                await publisher.publish([Outgoing("t", "k", data)])
                acked.append(data)
            except MessagingUnavailable as error:
                refused.append(str(error))
        assert refused
        assert all("full" in each for each in refused)
        received = await drain(consumer)
        assert datas(received) == acked
        connections.set("max_page_count=100000")
        await consumer.acknowledge(received[-1])
        await publisher.publish([Outgoing("t", "k", b"again")])
        assert datas(await consumer.receive()) == [b"again"]


async def test_a_file_that_turned_read_only_is_still_read(path: Path) -> None:
    """Publishing and acknowledging are refused, receiving goes on; nothing is lost when it can be written again."""
    connections = Connections()
    async with sqlite_engine(path, connect=connections) as engine:
        publisher, consumer = engine.publisher(), engine.consumer("t", group="g")
        await publisher.publish([Outgoing("t", "k", b"1"), Outgoing("t", "k", b"2")])
        first = (await consumer.receive(limit=1))[0]
        connections.set("query_only=ON")
        with pytest.raises(MessagingUnavailable, match="written") as raised:
            await publisher.publish([Outgoing("t", "k", b"3")])
        assert raised.value.retry_after > 0
        with pytest.raises(MessagingUnavailable, match="written"):
            await consumer.acknowledge(first)
        assert datas(await consumer.receive()) == [b"2"]
        other = engine.consumer("t", group="new")
        with pytest.raises(MessagingUnavailable, match="written"):
            await other.receive()
        connections.set("query_only=OFF")
        await consumer.acknowledge(first)
        await publisher.publish([Outgoing("t", "k", b"3")])
        assert datas(await consumer.receive()) == [b"3"]
        assert datas(await other.receive()) == [b"1", b"2", b"3"]


async def test_a_claim_that_could_not_be_noted_is_let_go(path: Path) -> None:
    """Another process, whose disk is well, is not kept from reading."""
    connections = Connections()
    async with sqlite_engine(path, connect=connections) as sick, sqlite_engine(path) as well:
        await well.publisher().publish([Outgoing("t", "k", b"1")])
        connections.set("query_only=ON")
        with pytest.raises(MessagingUnavailable):
            await sick.consumer("t", group="g").receive()
        assert datas(await well.consumer("t", group="g").receive()) == [b"1"]


async def test_a_file_that_may_not_grow_refuses_messages_and_recovers(path: Path) -> None:
    """The operating system refuses in the middle of it: what was acknowledged is there, and nothing else."""
    run = [sys.executable, str(PEER), "full", str(path), "400000"]
    done = await asyncio.to_thread(subprocess.run, run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert 10 < len(told["acked"]) < 600
    assert told["found"] == told["acked"]
    assert told["reasons"]
    assert all(reason.startswith("MessagingUnavailable: ") for reason in told["reasons"])


async def test_a_place_for_locks_that_is_none_is_unavailable(path: Path) -> None:
    """The sentence names the file; publishing is not touched by it."""
    await asyncio.to_thread(Path(f"{path}-groups").touch)
    async with sqlite_engine(path) as engine:
        await engine.publisher().publish([Outgoing("t", "k", b"1")])
        with pytest.raises(MessagingUnavailable, match=r"t~g\.lock: the file cannot be opened"):
            await engine.consumer("t", group="g").receive()


async def test_a_file_of_another_program_is_not_touched(path: Path) -> None:
    """A store's file in place of the messages' is refused in one sentence."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(MessagingError, match="belongs to another program"):
        async with sqlite_engine(path):
            pass
