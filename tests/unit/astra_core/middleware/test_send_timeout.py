"""Clients that do not take their answer: they are left, and keep nothing that the request held."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.settings
import pytest

from astra_core.asgi import ClientLeft, Layer
from astra_core.events import DeadlineExpired
from astra_core.middleware import DeadlineMiddleware, LimiterMiddleware, SendTimeoutMiddleware
from astra_core.resilience import DeadlineParameters, Deadlines, Limiter, LimiterParameters, Sweep
from astra_core.testing import FakeClock
from tests.unit.astra_core.middleware.client import Client, answering
from tests.unit.astra_core.middleware.real_servers import SERVERS, serving, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.asgi import ASGIApp, Exchange, Message, Receive, Scope, Send


class Holding(Client):
    """A client that takes each message only after some seconds."""

    def __init__(self, clock: FakeClock, *seconds: float) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = list(seconds)

    async def send(self, message: Message) -> None:
        """Take it at last."""
        await self.clock.sleep(self.seconds.pop(0))
        await super().send(message)


class Seen(Layer):
    """A layer outside, which notes what passes."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self.errors: list[BaseException] = []

    def rescue(self, x: Exchange, error: BaseException) -> None:
        """Note it."""
        self.errors.append(error)


class World:
    """Ten seconds by a clock of its own; events are kept."""

    def __init__(self, inside: ASGIApp) -> None:
        self.clock = FakeClock()
        self.sweep = Sweep(clock=self.clock)
        self.events: list[object] = []
        self.layer = SendTimeoutMiddleware(inside, timeout=10.0, sweep=self.sweep, listeners=self.events.append)
        self.app = Seen(self.layer)

    async def after(self, client: Client, seconds: float) -> asyncio.Task[Client]:
        """Make a request and let time pass."""
        task = client.begin(self.app)
        await self.clock.run_for(seconds)
        return task


def parts(clock: Callable[[], FakeClock], *seconds: float) -> ASGIApp:
    """Return an application that works for so long before each part of its answer."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for wait in seconds:
            await clock().sleep(wait)
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


async def test_an_answer_that_is_not_taken_ends_its_request() -> None:
    """Quietly: the server is told nothing, layers outside see that the client left, and it is told as an event."""
    world = World(answering())
    client = Holding(world.clock, 0, 11)
    task = await world.after(client, 9.9)
    assert not task.done()
    await world.clock.run_for(0.2)
    assert (await task).body == b""
    assert [type(error) for error in world.app.errors] == [ClientLeft]
    assert world.events == [DeadlineExpired("send", 10.0, own=True)]
    assert len(world.sweep) == 0
    assert task.cancelling() == 0


async def test_a_client_that_takes_its_time_gets_all_of_it() -> None:
    """The bound is for each part: neither the whole answer nor the work between two parts is bounded."""
    world: World
    world = World(parts(lambda: world.clock, 60, 60))
    client = Holding(world.clock, 9, 9, 9, 9)
    task = await world.after(client, 160)
    assert (await task).body == b"xx"
    assert world.app.errors == world.events == []


async def test_the_bound_may_be_replaced_while_it_runs() -> None:
    """It holds for what is sent from then on."""
    world = World(answering())
    world.layer.timeout = 1.0
    task = await world.after(Holding(world.clock, 0, 5), 1.2)
    assert task.done()
    with pytest.raises(ValueError, match="above 0"):
        SendTimeoutMiddleware(answering(), timeout=0)


async def test_a_cancellation_by_others_is_theirs() -> None:
    """Before the time is over, and in the same moment."""
    world = World(answering())
    task = await world.after(Holding(world.clock, 0, 50), 1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    task = await world.after(Holding(world.clock, 0, 50), 1.0)
    (sending,) = world.sweep.entries
    sending.expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [type(error) for error in world.app.errors] == [asyncio.CancelledError] * 2
    assert len(world.sweep) == 0


async def test_the_answer_of_a_layer_further_in_is_bounded_too() -> None:
    """A deadline answers 504 for the work that it cut off, to a client that does not take that either."""
    clock = FakeClock()
    sweep = Sweep(clock=clock)

    async def work(scope: Scope, receive: Receive, send: Send) -> None:
        await clock.sleep(60)

    deadlines = Deadlines("request", sweep=sweep, parameters=DeadlineParameters(budget=1.0))
    layer = SendTimeoutMiddleware(DeadlineMiddleware(work, deadlines=deadlines), timeout=10.0, sweep=sweep)
    task = Holding(clock, 0, 50).begin(layer)
    await clock.run_for(10.9)
    assert not task.done()
    await clock.run_for(0.3)
    assert (await task).status == 504


class Held:
    """A limiter before answers that are larger than what a socket takes at once, bounded or not."""

    def __init__(self, *, bounded: bool) -> None:
        self.limiter = Limiter("edge", sweep=Sweep(), parameters=LimiterParameters(limit=3))
        limited = LimiterMiddleware(answering(body=b"x" * 1_000_000), limiter=self.limiter)
        self.app: ASGIApp = SendTimeoutMiddleware(limited, timeout=0.3) if bounded else limited


def no_window() -> bytes:
    """What an HTTP/2 client sends that asks for three answers and opens no window for them."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    nothing = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0}
    connection.local_settings = h2.settings.Settings(client=True, initial_values=nothing)
    connection.initiate_connection()
    headers = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]
    for stream in (1, 3, 5):
        connection.send_headers(stream, headers, end_stream=True)
    return connection.data_to_send()


REQUESTS = {"uvicorn": [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 20] * 3, "hypercorn": [no_window()]}
"""What each connection sends, of as many as take all permits."""


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("server", SERVERS)
async def test_permits_come_back_from_clients_that_read_nothing(
    server: str, bounded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """They keep their connections, and no more; without the layer they keep the permits too."""
    held = Held(bounded=bounded)
    async with serving(held.app, server) as port:
        readers = [socket.create_connection(("127.0.0.1", port)) for _ in REQUESTS[server]]
        try:
            for reader, request in zip(readers, REQUESTS[server], strict=True):
                reader.sendall(request)
            await until(lambda: held.limiter.in_use == 3)
            if bounded:
                await until(lambda: held.limiter.in_use == 0)
            else:
                await asyncio.sleep(0.6)
                assert held.limiter.in_use == 3
        finally:
            for reader in readers:
                reader.close()
    if bounded:
        assert "Traceback" not in caplog.text
