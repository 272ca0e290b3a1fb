"""Claims, while the disk is busy and when lock files vanish: who holds a group is never in doubt."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from astra_core.errors import MessagingUnavailable
from astra_core.keyed import BlockingPool
from astra_core.messaging import Outgoing
from astra_core.messaging.sqlite import SqliteMessaging
from astra_core.sqlite import Limits
from tests.contract.messaging.conftest import datas, sqlite_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where no file is yet."""
    return tmp_path / "messages.db"


@pytest.fixture
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of somebody else, with which a test holds the write lock."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


async def test_a_release_waits_for_a_claim_on_its_way(path: Path, writing: sqlite3.Connection) -> None:
    """A claim noted later would end that of the next holder, who would be refused although it alone reads."""
    async with sqlite_engine(path) as first, sqlite_engine(path) as second:
        await first.publisher().publish([Outgoing("t", "k", b"1")])
        consumer, other = first.consumer("t", group="g"), second.consumer("t", group="g")
        writing.execute("BEGIN IMMEDIATE")
        receiving = asyncio.create_task(consumer.receive(wait=30.0))
        await asyncio.sleep(0.1)
        receiving.cancel()
        releasing = asyncio.create_task(consumer.release())
        await asyncio.sleep(0.1)
        assert not releasing.done()
        assert await other.receive() == ()
        writing.execute("ROLLBACK")
        await releasing
        (received,) = await other.receive()
        await other.acknowledge(received)
        (state,) = await first.topics()
        assert state.groups[0].position == received.offset


async def test_a_release_while_a_claim_is_on_its_way_leaves_nothing_held(
    path: Path, writing: sqlite3.Connection
) -> None:
    """The receive that it overtakes returns nothing, and neither of them keeps the other consumer from reading."""
    async with sqlite_engine(path) as engine:
        await engine.publisher().publish([Outgoing("t", "k", b"1")])
        consumer, other = engine.consumer("t", group="g"), engine.consumer("t", group="g")
        writing.execute("BEGIN IMMEDIATE")
        receiving = asyncio.create_task(consumer.receive())
        await asyncio.sleep(0.1)
        releasing = asyncio.create_task(consumer.release())
        await asyncio.sleep(0.1)
        writing.execute("ROLLBACK")
        await releasing
        assert await receiving == ()
        assert datas(await other.receive()) == [b"1"]
        with pytest.raises(ValueError, match="did not receive"):
            await consumer.acknowledge(1)
        assert await consumer.receive() == ()


async def test_an_engine_that_closes_claims_no_group_again(path: Path, writing: sqlite3.Connection) -> None:
    """Not while it waits for the claim of another consumer either: who opens the file next reads every group."""
    async with sqlite_engine(path) as engine:
        await engine.publisher().publish([Outgoing("t", "k", b"1")])
        waiting, claiming = engine.consumer("t", group="first"), engine.consumer("t", group="second")
        assert len(await waiting.receive()) == 1
        receives = [asyncio.create_task(waiting.receive(wait=30.0))]
        await asyncio.sleep(0.12)
        writing.execute("BEGIN IMMEDIATE")
        receives.append(asyncio.create_task(claiming.receive(wait=30.0)))
        await asyncio.sleep(0.12)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0.12)
        assert not closing.done()
        writing.execute("ROLLBACK")
        await closing
        told = await asyncio.gather(*receives, return_exceptions=True)
        assert [type(each) for each in told] == [MessagingUnavailable] * 2
        async with sqlite_engine(path) as other:
            for group in ("first", "second"):
                assert datas(await other.consumer("t", group=group).receive()) == [b"1"]


async def test_a_busy_file_is_unavailable_and_not_waited_for_without_end(
    path: Path, writing: sqlite3.Connection
) -> None:
    """Publishing and claiming end with the limits' deadline; the group is free for others then."""
    async with sqlite_engine(path, limits=Limits(deadline=0.2)) as engine:
        await engine.publisher().publish([Outgoing("t", "k", b"1")])
        writing.execute("BEGIN IMMEDIATE")
        with pytest.raises(MessagingUnavailable, match="in time"):
            await engine.publisher().publish([Outgoing("t", "k", b"2")])
        with pytest.raises(MessagingUnavailable, match="in time"):
            await engine.consumer("t", group="g").receive(wait=30.0)
        writing.execute("ROLLBACK")
        assert datas(await engine.consumer("t", group="g").receive()) == [b"1"]


async def test_the_lock_file_is_looked_at_in_a_thread_and_not_waited_for_without_end(path: Path) -> None:
    """Opening it and looking whether it is still there end with the limits' deadline; others may claim then."""
    readers, gate = BlockingPool("readers", threads=1, queue=64), threading.Event()
    writer = BlockingPool("writer", threads=1, queue=4)
    async with SqliteMessaging(path, writer=writer, readers=readers, limits=Limits(deadline=0.1)) as engine:
        await engine.publisher().publish([Outgoing("t", "k", b"1")])
        first, second, third = (engine.consumer("t", group="g") for _ in range(3))
        assert datas(await first.receive()) == [b"1"]
        assert await second.receive() == ()
        busy = asyncio.create_task(readers.run(gate.wait))
        await asyncio.sleep(0)
        await first.release()
        for consumer in (second, third):  # one has the file open already
            with pytest.raises(MessagingUnavailable, match=r"t~g\.lock: the file was not there in time"):
                await consumer.receive(wait=30.0)
        gate.set()
        await busy
        assert datas(await third.receive()) == [b"1"]
    await readers.close()
    await writer.close()


async def test_a_lock_of_a_file_that_is_gone_is_no_claim(path: Path) -> None:
    """Who stood by has the old file open: its lock, free at last, says nothing of who holds the group by then."""
    async with sqlite_engine(path) as engine:
        await engine.publisher().publish([Outgoing("t", "k", b"1")])
        old, standing_by, new = (engine.consumer("t", group="g") for _ in range(3))
        assert datas(await old.receive()) == [b"1"]
        assert await standing_by.receive() == ()
        await asyncio.to_thread((path.parent / "messages.db-groups" / "t~g.lock").unlink)
        (received,) = await new.receive()
        await old.release()
        assert await standing_by.receive() == ()
        assert await standing_by.receive() == ()
        await new.acknowledge(received)
        await new.release()
        await engine.publisher().publish([Outgoing("t", "k", b"2")])
        assert datas(await standing_by.receive()) == [b"2"]


async def test_this_process_is_woken_without_a_look(path: Path) -> None:
    """A publish wakes who waits for news, and a release who stands by, however long the poll."""
    async with sqlite_engine(path, poll=3600.0) as engine:
        consumer, other = engine.consumer("t", group="g"), engine.consumer("t", group="g")
        waiting = asyncio.create_task(consumer.receive(wait=60.0))
        await asyncio.sleep(0.1)
        standing_by = asyncio.create_task(other.receive(wait=60.0))
        await asyncio.sleep(0.1)
        await engine.publisher().publish([Outgoing("t", "k", b"1")])
        assert datas(await asyncio.wait_for(waiting, 10.0)) == [b"1"]
        await consumer.release()
        assert datas(await asyncio.wait_for(standing_by, 10.0)) == [b"1"]
