"""The deadline round requests: what it cuts off and what not, whose time it was, and what is left behind."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.events import DeadlineExpired
from astra_core.middleware import DeadlineMiddleware
from astra_core.middleware.refusals import WITNESS, Witness
from astra_core.resilience import (
    DeadlineExceeded,
    DeadlineParameters,
    Deadlines,
    Sweep,
    current_deadline,
    remaining,
)
from astra_core.testing import FakeClock
from tests.unit.astra_core.middleware.client import Client, answering, copying, failing, turns

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Receive, Scope, Send


class World:
    """Deadlines of five seconds with a floor of half a second, on a clock of their own."""

    def __init__(self, inside: Any = None, **options: Any) -> None:
        self.clock = FakeClock()
        self.events: list[object] = []
        self.cut_at: list[float] = []
        self.deadlines = Deadlines(
            "request", sweep=Sweep(clock=self.clock), parameters=DeadlineParameters(budget=5.0, floor=0.5),
            listeners=self.events.append,
        )  # fmt: skip
        self.app = DeadlineMiddleware(inside or self.hang, deadlines=self.deadlines, **options)

    async def hang(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Never answer."""
        try:
            await self.clock.sleep(3600)
        except asyncio.CancelledError:
            self.cut_at.append(self.clock.monotonic() - 1_000.0)
            raise

    async def outcome(self, seconds: float, **scope: Any) -> Client:
        """The answer to one request after so much time."""
        task = Client().begin(self.app, **scope)
        await self.clock.run_for(seconds)
        assert task.done()
        return await task


async def test_work_that_is_not_done_in_time_is_cancelled_and_answered_for() -> None:
    """With 504 and problem+json, at the end of the budget; a listener hears of it, and nothing stays behind."""
    world = World()
    answer = await world.outcome(5.1)
    assert answer.status == 504
    assert answer.problem["type"] == "urn:astra:problem:deadline-exceeded"
    assert b"retry-after" not in answer.headers
    assert world.cut_at == [5.0]
    assert world.events == [DeadlineExpired("request", 5.0, True)]
    assert (len(world.deadlines.sweep), current_deadline()) == (0, None)


async def test_work_in_time_sees_what_is_left_and_is_not_touched() -> None:
    """Also in the tasks that it starts."""
    seen: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(remaining())
        await world.clock.sleep(2)
        seen.append(await asyncio.create_task(left()))
        await answering()(scope, receive, send)

    async def left() -> float:
        return remaining()

    world = World(app)
    assert (await world.outcome(3)).status == 200
    assert seen == [5.0, 3.0]
    assert (len(world.deadlines.sweep), current_deadline(), remaining()) == (0, None, inf)


@pytest.mark.parametrize(
    ("asked", "trusted", "cut_at"),
    [(b"2000", True, 2.0), (b"2000", False, 5.0), (b"1", True, 0.5), (b"60000", True, 5.0), (b"soon", True, 5.0)],
)
async def test_only_the_trusted_shorten_it_and_not_below_the_floor(asked: bytes, trusted: bool, cut_at: float) -> None:
    """And nobody lengthens it. The answer is the same; its event says whose time it was."""
    world = World(trusted=lambda scope: trusted)
    answer = await world.outcome(6, headers=[(b"accept", b"*/*"), (b"x-request-deadline", asked)])
    assert answer.status == 504
    assert world.cut_at == [cut_at]
    assert world.events == [DeadlineExpired("request", 5.0, cut_at == 5.0)]


async def test_nobody_is_trusted_unless_said() -> None:
    """The header of a stranger is not read."""
    world = World()
    await world.outcome(6, headers=[(b"x-request-deadline", b"1000")])
    assert world.cut_at == [5.0]


async def test_what_comes_too_late_is_not_begun() -> None:
    """A deadline that is over when the request arrives is answered at once."""
    begun: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(True)

    layer = DeadlineMiddleware(app, budget=1.0, trusted=lambda scope: True)
    answer = await Client().ask(layer, headers=[(b"x-request-deadline", b"0")])
    assert (answer.status, begun, current_deadline()) == (504, [], None)


async def test_an_answer_that_has_begun_may_take_its_time() -> None:
    """A stream goes on past the budget, and so does what it calls meanwhile."""
    seen: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await world.clock.sleep(4)
            seen.append(remaining())
            await send({"type": "http.response.body", "body": b"more", "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    world = World(app)
    answer = await world.outcome(13)
    assert (answer.status, answer.body, seen) == (200, b"moremoremoreend", [inf] * 3)
    assert len(world.deadlines.sweep) == 0


async def test_a_cancellation_by_somebody_else_passes_untouched() -> None:
    """Nothing is answered, and the task is cancelled."""
    world = World()
    client = Client()
    task = client.begin(world.app)
    await turns()
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), client.sent, world.events) == (True, [], [])
    assert len(world.deadlines.sweep) == 0


async def test_a_deadline_that_ended_further_in_is_answered_for() -> None:
    """When the application let `DeadlineExceeded` through; any other error is not this layer's."""
    error = DeadlineExceeded("store", budget=1.0, own=True)
    assert (await Client().ask(World(failing(lambda: error)).app)).status == 504
    with pytest.raises(TimeoutError, match="a plain one"):
        await Client().ask(World(failing(lambda: TimeoutError("a plain one"))).app)


async def test_nothing_is_answered_after_the_beginning() -> None:
    """An error after it goes on as it is, and so does a deadline that ended further in."""
    for error in (ValueError("half"), DeadlineExceeded("store", budget=1.0, own=True)):
        client = Client()
        with pytest.raises(type(error)) as raised:
            await client.ask(World(failing(lambda error=error: error, status=200)).app)  # type: ignore[misc]
        assert raised.value is error
        assert [message["type"] for message in client.sent] == ["http.response.start"]


async def test_work_may_answer_its_own_cancellation() -> None:
    """What it sends is the answer; the task can be cancelled as usual afterwards. If it then breaks off, it is said
    that the deadline was the cause.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send({"type": "http.response.start", "status": 202, "headers": []})
            if scope["path"] == "/breaks-off":
                raise

    for path in ("/answers", "/breaks-off"):
        world, client = World(app), Client()
        task = client.begin(world.app, path)
        await world.clock.run_for(6)
        assert client.status == 202
        assert task.cancelling() == 0
        error = task.exception()
        assert error is None if path == "/answers" else isinstance(error, DeadlineExceeded) and error.own


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize(("asked", "refused"), [(b"1000", 504), (b"9000", -1)])
async def test_breakers_further_out_hear_of_a_shortened_deadline(foreign: bool, asked: bytes, refused: int) -> None:
    """It says nothing about the work; our own says much."""
    world = World(trusted=lambda scope: True)
    witness = Witness(None)
    marked: dict[str, Any] = {WITNESS: witness}
    app: ASGIApp = copying(world.app) if foreign else world.app
    task = Client().begin(app, headers=[(b"x-request-deadline", asked)], **marked)
    await world.clock.run_for(6)
    assert (await task).status == 504
    assert witness.refused == refused


async def test_deadlines_nest() -> None:
    """A shorter one inside a longer one is the one that counts, and each is taken out again."""
    world = World()
    inner = Deadlines("route", sweep=world.deadlines.sweep, parameters=DeadlineParameters(budget=1.0))
    app = DeadlineMiddleware(DeadlineMiddleware(world.hang, deadlines=inner), deadlines=world.deadlines)
    task = Client().begin(app)
    await world.clock.run_for(2)
    assert (await task).status == 504
    assert (world.cut_at, len(world.deadlines.sweep)) == ([1.0], 0)


async def test_deadlines_or_their_parameters_but_not_both() -> None:
    """The short form makes deadlines of its own, which work on the real clock."""
    with pytest.raises(TypeError):
        DeadlineMiddleware(answering(), deadlines=World().deadlines, budget=1.0)
    with pytest.raises(ValueError, match="floor"):
        DeadlineMiddleware(answering(), budget=1.0, floor=2.0)

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    assert (await Client().ask(DeadlineMiddleware(hang, budget=0.02))).status == 504
