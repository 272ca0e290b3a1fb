"""The fault proxy over real sockets: each fault by itself, switched while connections live."""

from __future__ import annotations

import asyncio
from random import Random
from time import monotonic

import pytest

from astra_core.testing import FAULTLESS, FaultProxy, Faults, Flow
from astra_core.testing.fault_link import tear
from tests.unit.astra_core.testing.fault_scene import A_WHILE, PATIENCE, scene, until

BLACKHOLE = Faults(up=Flow(blackhole=True), down=Flow(blackhole=True))


async def test_without_faults_every_byte_passes_both_ways() -> None:
    """Much more than is ever held back, in order, on several connections; an end on one side is one on the other."""
    async with scene() as stage:
        data = Random(1).randbytes(1_000_000)
        one, two = await stage.connect(), await stage.connect()
        answers = await asyncio.gather(one.ask(data), two.ask(b"two"))
        assert list(answers) == [data, b"two"]
        assert (stage.proxy.connections, stage.proxy.accepted) == (2, 2)
        one.send(b"last")
        one.writer.write_eof()
        assert await one.receive(100) == b"last"
        await until(lambda: stage.proxy.connections == 1)


async def test_latency_holds_each_piece_back_and_is_felt_by_one_direction_only() -> None:
    """The server has the bytes at once; the answer comes when the time has passed, not before."""
    async with scene() as stage:
        client = await stage.connect()
        stage.proxy.faults = Faults(down=Flow(latency=3.0))
        client.send(b"hello")
        await until(lambda: stage.echo.seen == b"hello")
        await stage.clock.run_for(2.9)
        assert await client.is_silent()
        await stage.clock.run_for(0.2)
        assert await client.receive(5) == b"hello"


async def test_jitter_is_drawn_anew_and_keeps_the_order() -> None:
    """Pieces come between the latency and that plus the jitter, later ones never first; a seed repeats itself."""

    async def delays(seed: int) -> list[float]:
        taken = []
        async with scene(random=Random(seed)) as stage:
            client = await stage.connect()
            stage.proxy.faults = Faults(down=Flow(latency=1.0, jitter=2.0))
            for number in b"abcdef":
                begin = stage.clock.monotonic()
                client.send(bytes([number]))
                answer = asyncio.create_task(client.receive(1))
                await until(lambda: stage.clock.sleepers > 0)
                while not answer.done():
                    await stage.clock.run_for(0.05)
                    await asyncio.sleep(0.005)
                assert answer.result() == bytes([number])
                taken.append(stage.clock.monotonic() - begin)
        return taken

    first = await delays(7)
    assert all(0.9 <= taken <= 3.5 for taken in first)
    assert max(first) - min(first) > 0.3
    assert [round(taken) for taken in await delays(7)] == [round(taken) for taken in first]


async def test_bytes_held_back_go_when_the_fault_does() -> None:
    """Lifting a latency of an hour delivers what it kept."""
    async with scene(faults=Faults(up=Flow(latency=3_600.0))) as stage:
        client = await stage.connect()
        client.send(b"hello")
        assert await client.is_silent()
        stage.proxy.faults = FAULTLESS
        assert await client.receive(5) == b"hello"


async def test_bandwidth_is_so_many_bytes_a_second() -> None:
    """At 100 bytes a second 500 bytes take five seconds, give or take a tick."""
    async with scene(faults=Faults(down=Flow(bandwidth=100.0))) as stage:
        client = await stage.connect()
        client.send(b"x" * 500)
        await until(lambda: len(stage.echo.seen) == 500)
        answer = asyncio.create_task(client.receive(500))
        begin = stage.clock.monotonic()
        while not answer.done():
            await until(lambda: stage.clock.sleepers > 0 or answer.done())
            await stage.clock.run_for(0.02)
            await asyncio.sleep(0.001)
        assert len(answer.result()) == 500
        assert 4.8 <= stage.clock.monotonic() - begin <= 5.6


async def test_a_reset_is_a_reset_at_both_ends() -> None:
    """Connections that live are torn, new ones too, and after the fault the proxy serves as before."""
    async with scene() as stage:
        client = await stage.connect()
        assert await client.ask(b"hello") == b"hello"
        stage.proxy.faults = Faults(reset=True)
        with pytest.raises(ConnectionResetError):
            await client.receive(1)
        await until(lambda: stage.echo.ends == 1)
        with pytest.raises(ConnectionError):
            await (await stage.connect()).receive(1)
        stage.proxy.faults = FAULTLESS
        assert await (await stage.connect()).ask(b"again") == b"again"


async def test_refused_is_refused_and_the_port_is_kept() -> None:
    """No connection comes about, the one that lives goes on, and the same port serves afterwards."""
    async with scene() as stage:
        client, port = await stage.connect(), stage.proxy.port
        stage.proxy.faults = Faults(refuse=True)
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await stage.connect()
        assert await client.ask(b"hello") == b"hello"
        stage.proxy.faults = FAULTLESS
        assert stage.proxy.port == port
        assert await (await stage.connect()).ask(b"again") == b"again"


async def test_half_open_swallows_and_never_answers() -> None:
    """New connections are accepted, bytes of old ones vanish, nothing is closed; afterwards who lost bytes is torn."""
    async with scene() as stage:
        talking, quiet = await stage.connect(), await stage.connect()
        assert [await talking.ask(b"hello"), await quiet.ask(b"hello")] == [b"hello"] * 2
        stage.proxy.faults = Faults(hang=True)
        fresh = await stage.connect()
        for client in (talking, fresh):
            client.send(b"x" * 500_000)
            await asyncio.wait_for(client.writer.drain(), PATIENCE)
        assert [await talking.is_silent(), await fresh.is_silent()] == [True, True]
        assert stage.echo.seen == b"hellohello"
        stage.proxy.faults = FAULTLESS
        for client in (talking, fresh):
            with pytest.raises(ConnectionError):
                await client.receive(1)
        assert await quiet.ask(b"still here") == b"still here"


async def test_a_connection_is_closed_in_the_middle_of_an_answer() -> None:
    """After so many bytes of one direction both ends see the end; the count begins with the fault."""
    async with scene() as stage:
        client = await stage.connect()
        assert await client.ask(b"x" * 1_000) == b"x" * 1_000
        stage.proxy.faults = Faults(down=Flow(close_after=10))
        assert await client.ask(b"0123456789ABCDEF") == b"0123456789"
        await until(lambda: stage.echo.ends == 1)
        fresh = await stage.connect()
        assert await fresh.ask(b"012345678") == b"012345678"
        assert await fresh.ask(b"9ABC") == b"9"
        stage.proxy.faults = Faults(down=Flow(close_after=0))
        assert await (await stage.connect()).ask(b"hello") == b""


async def test_a_blackhole_loses_nothing() -> None:
    """Nothing passes and nothing is closed, even when the client leaves; later the bytes arrive."""
    async with scene() as stage:
        client, leaving = await stage.connect(), await stage.connect()
        assert await leaving.ask(b"") == b""
        stage.proxy.faults = BLACKHOLE
        client.send(b"hello")
        leaving.send(b"bye")
        leaving.writer.close()
        assert await client.is_silent()
        assert (stage.echo.seen, stage.echo.ends) == (b"", 0)
        stage.proxy.faults = FAULTLESS
        assert await client.receive(5) == b"hello"
        await until(lambda: stage.echo.ends == 1)
        assert sorted(stage.echo.seen) == sorted(b"hellobye")


@pytest.mark.parametrize("faults", [BLACKHOLE, Faults(up=Flow(latency=3_600.0)), Faults(up=Flow(bandwidth=1.0))])
async def test_what_is_held_back_is_bounded(faults: Faults) -> None:
    """A sender whose bytes are held back is stopped by its own full buffers: the proxy takes no endless memory."""
    async with scene(faults=faults) as stage:
        client = await stage.connect()
        client.writer.transport.set_write_buffer_limits(high=0)
        sent = 0
        try:
            async with asyncio.timeout(PATIENCE):
                while sent < 64 * 2**20:
                    client.send(bytes(2**20))
                    async with asyncio.timeout(2 * A_WHILE):
                        await client.writer.drain()
                    sent += 2**20
        except TimeoutError:
            pass
        assert sent < 32 * 2**20  # the kernel's buffers of two sockets, and ours
        client.writer.transport.abort()


async def test_connections_are_bounded() -> None:
    """One more than allowed is torn; when one leaves there is room again."""
    async with scene(max_connections=1) as stage:
        client = await stage.connect()
        assert await client.ask(b"hello") == b"hello"
        with pytest.raises(ConnectionError):
            await (await stage.connect()).receive(1)
        client.writer.close()
        await until(lambda: stage.proxy.connections == 0)
        assert await (await stage.connect()).ask(b"again") == b"again"


async def test_a_server_that_is_not_there_tears_the_client() -> None:
    """The client had been accepted, so it cannot be refused any more."""
    async with FaultProxy("127.0.0.1", 1) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.read(1), PATIENCE)
        writer.close()


async def test_a_torn_client_is_a_torn_client_to_the_server() -> None:
    """What one end does is done to the other."""
    async with scene() as stage:
        client = await stage.connect()
        assert await client.ask(b"hello") == b"hello"
        tear(client.writer.get_extra_info("socket"))
        client.writer.transport.abort()
        await until(lambda: stage.echo.torn == 1)
        await until(lambda: stage.proxy.connections == 0)


async def test_closing_the_proxy_leaves_nothing() -> None:
    """Its connections are torn and its port is free, whatever fault is on."""
    for faults in (FAULTLESS, BLACKHOLE, Faults(hang=True), Faults(down=Flow(latency=60.0))):
        async with scene(faults=faults) as stage:
            client, port = await stage.connect(), stage.proxy.port
            client.send(b"hello")
            begin = monotonic()
        assert monotonic() - begin < PATIENCE
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


def test_impossible_faults_are_refused() -> None:
    """Negative times and sizes, and a bandwidth of nothing."""
    for wrong in ({"latency": -1.0}, {"jitter": -1.0}, {"close_after": -1}, {"bandwidth": 0.0}):
        with pytest.raises(ValueError, match=r"are 0 or more|above 0"):
            Flow(**wrong)


def test_a_closed_proxy_has_no_port() -> None:
    """And says so."""
    proxy = FaultProxy("127.0.0.1", 1)
    assert "closed" in repr(proxy)
    with pytest.raises(RuntimeError, match="open"):
        assert proxy.port
