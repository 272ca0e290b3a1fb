"""Clients that leave: whose work is cancelled, whose is not, and that no part of a body is lost."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.middleware import AccessLogMiddleware, DisconnectMiddleware, MetricsMiddleware
from astra_core.middleware.inbox import READ_AHEAD
from astra_core.middleware.refusals import WITNESS, Witness
from astra_core.resilience import Sweep
from astra_core.telemetry import LIBRARY, Metrics
from astra_core.testing import FakeClock
from tests.unit.astra_core.asgi.recorders import Foreign
from tests.unit.astra_core.middleware.client import Client, answering, copying, turns

if TYPE_CHECKING:
    from astra_core.asgi import Message, Receive, Scope, Send


class World:
    """Looks for the client after a tenth of a second; the application is told what to do by its methods."""

    def __init__(self, inside: Any = None, **options: Any) -> None:
        self.clock = FakeClock()
        self.sweep = Sweep(clock=self.clock)
        self.ends: list[str] = []
        self.app = DisconnectMiddleware(inside or self.wait, sweep=self.sweep, after=0.1, **options)

    async def wait(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work for a second, then answer."""
        try:
            await self.clock.sleep(1)
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        self.ends.append("worked")
        await answering()(scope, receive, send)

    async def read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work for a second before reading the body, and give it back."""
        await self.clock.sleep(1)
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ends.append("told")
                return
            body += message["body"]
            more = message["more_body"]
            await self.clock.sleep(1)
        await answering(body=body)(scope, receive, send)

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin to answer, then work for a second."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.wait(scope, receive, Client().send)

    def clean(self) -> bool:
        """Whether nothing stays behind but the sweep's own task."""
        return len(self.sweep) == 0 and len(asyncio.all_tasks()) <= 2


@pytest.mark.parametrize("foreign", [Foreign, copying, None])
async def test_work_for_a_client_that_left_is_cancelled(foreign: Any) -> None:
    """Soon after, and quietly: nothing is sent, nothing raised, and breakers further out hear that it means nothing."""
    world = World()
    client, witness = Client(), Witness(None)
    marked: dict[str, Any] = {WITNESS: witness}
    task = client.begin(foreign(world.app) if foreign else world.app, **marked)
    await world.clock.run_for(0.3)
    assert not task.done()
    client.leave()
    await turns()
    assert task.done()
    assert (await task).sent == []
    assert world.ends == ["cancelled"]
    assert witness.refused == 0
    assert world.clean()


async def test_a_client_that_stays_is_served() -> None:
    """However long it takes, and its body is whole: nothing that was read ahead is lost."""
    world = World()
    assert (await _after(world, Client(), 2)).status == 200
    reading = World()
    reading.app = DisconnectMiddleware(reading.read, sweep=reading.sweep, after=0.1)
    answer = await _after(reading, Client(b"one ", b"two ", b"three"), 10)
    assert (answer.status, answer.body) == (200, b"one two three")
    assert world.clean()
    assert reading.clean()


async def _after(world: World, client: Client, seconds: float) -> Client:
    task = client.begin(world.app)
    await world.clock.run_for(seconds)
    assert task.done()
    return await task


async def test_a_short_request_costs_no_task() -> None:
    """Nobody reads ahead before the time is over."""
    seen: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await world.clock.sleep(0.05)
        seen.append(len(asyncio.all_tasks()))
        await answering()(scope, receive, send)

    world = World(app)
    before = len(asyncio.all_tasks())
    await _after(world, Client(), 0.09)
    assert seen == [before + 2]  # this request's and the sweep's
    assert world.clean()


async def test_a_body_that_comes_slowly_arrives_whole() -> None:
    """While the application waits for it nobody else does."""
    world = World()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        first, second = await receive(), await receive()
        await answering(body=first["body"] + second["body"])(scope, receive, send)

    client = Client(b"one ", b"two", hold=1)
    task = client.begin(DisconnectMiddleware(app, sweep=world.sweep, after=0.1))
    await world.clock.run_for(1)
    client.go()
    await turns()
    assert task.done()
    assert (await task).body == b"one two"


async def test_what_reads_the_body_is_told_and_not_cancelled() -> None:
    """It waits for the client itself, so it hears of the departure."""
    world = World()
    world.app = DisconnectMiddleware(world.read, sweep=world.sweep, after=10.0)
    client = Client(b"one", b"two", hold=1)
    task = client.begin(world.app)
    await world.clock.run_for(5)
    client.leave()
    await turns()
    assert task.done()
    assert world.ends == ["told"]


@pytest.mark.parametrize(("part", "ends"), [(b"small", 0.5), (b"x" * READ_AHEAD, 1.7)])
async def test_an_upload_that_breaks_off_while_the_application_works(part: bytes, ends: float) -> None:
    """It is noticed at once; or, when as much was read ahead as is kept, once the application has taken that."""
    world = World()
    world.app = DisconnectMiddleware(world.read, sweep=world.sweep, after=0.1)
    client = Client(part, part, part, hold=2)
    task = client.begin(world.app)
    await world.clock.run_for(0.5)
    client.leave()
    await world.clock.run_for(ends - 0.5)
    await turns()
    assert task.done()
    assert (await task).sent == []
    assert world.clean()


async def test_an_answer_that_has_begun_is_left_to_the_application() -> None:
    """It runs to its end."""
    world = World()
    world.app = DisconnectMiddleware(world.stream, sweep=world.sweep, after=0.1)
    client = Client()
    task = client.begin(world.app)
    await world.clock.run_for(0.5)
    client.leave()
    await world.clock.run_for(0.6)
    assert task.done()
    assert world.ends == ["worked"]
    assert world.clean()


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_cancellation_by_somebody_else_passes(leaves: bool) -> None:
    """Also one that strikes in the same turn as ours."""
    world = World()
    client = Client()
    task = client.begin(world.app)
    await world.clock.run_for(0.3)
    if leaves:
        client.leave()
        await turns(1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert client.sent == []
    assert world.clean()


async def test_work_may_ignore_its_cancellation() -> None:
    """Its task can be cancelled as usual afterwards, and is not cancelled twice."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await world.clock.sleep(5)
        except asyncio.CancelledError:
            world.ends.append("cancelled")
        await world.clock.sleep(5)
        await answering()(scope, receive, send)

    world = World(app)
    client = Client()
    task = client.begin(world.app)
    await world.clock.run_for(0.3)
    client.leave()
    await world.clock.run_for(6)
    assert task.done()
    assert (task.cancelling(), world.ends, client.status) == (0, ["cancelled"], 200)
    assert world.clean()


async def test_who_is_watched_is_a_choice() -> None:
    """The others run as if the layer were not there."""
    world = World(when=lambda scope: scope["path"] != "/fast")
    client = Client()
    task = client.begin(world.app, "/fast")
    await world.clock.run_for(0.3)
    client.leave()
    await world.clock.run_for(0.8)
    assert task.done()
    assert world.ends == ["worked"]


async def test_two_watches_share_one_inbox() -> None:
    """An outer one and an inner one: the work is cancelled once, and all is tidied up."""
    world = World()
    app = DisconnectMiddleware(Foreign(world.app), sweep=world.sweep, after=0.2)
    client = Client()
    task = client.begin(app)
    await world.clock.run_for(0.5)
    client.leave()
    await turns()
    assert task.done()
    assert (await task).sent == []
    assert world.ends == ["cancelled"]
    assert world.clean()


async def test_what_stands_between_two_watches_still_sees_the_body() -> None:
    """The inner one shares the outer one's inbox, and does not lead past a middleware that changes what is read."""

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        await answering(body=(await receive())["body"])(scope, receive, send)

    world = World(read)

    async def louder(scope: Scope, receive: Receive, send: Send) -> None:
        async def changed() -> Message:
            message = await receive()
            return {**message, "body": message["body"].upper()}

        await world.app(scope, changed, send)

    app = DisconnectMiddleware(louder, sweep=world.sweep, after=0.2)
    assert (await Client(b"quiet").ask(app)).body == b"QUIET"


def test_a_time_that_is_none_is_refused() -> None:
    """Looking at once would read ahead in every request."""
    with pytest.raises(ValueError, match="above 0"):
        DisconnectMiddleware(answering(), after=0.0)


async def test_layers_further_out_see_that_the_client_left(caplog: pytest.LogCaptureFixture) -> None:
    """It counts as 4xx and is no error in the log: who leaves a slow service does not make it a failing one."""
    world = World()
    metrics = Metrics(LIBRARY, clock=FakeClock())
    caplog.set_level(logging.INFO)
    app = MetricsMiddleware(AccessLogMiddleware(world.app, ratio=1.0), metrics=metrics)
    client = Client()
    task = client.begin(app)
    await world.clock.run_for(0.3)
    client.leave()
    await turns()
    await task
    _, body = await metrics.render()
    assert b'http_requests_total{handler="none",method="GET",status="4xx"} 1.0' in body
    assert b'status="5xx"' not in body
    assert [(record.levelname, getattr(record, "status", None)) for record in caplog.records] == [("INFO", 499)]
