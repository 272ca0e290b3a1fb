"""Requests that are tried again: which, how often, and what a try never does twice."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router

from astra_core.errors import AstraError, Overloaded, StoreUnavailable
from astra_core.events import RetryGivenUp, RetryScheduled, RetrySucceeded
from astra_core.middleware import (
    BreakerMiddleware,
    DeadlineMiddleware,
    LimiterMiddleware,
    RequestIdMiddleware,
    RetryMiddleware,
    mark_refused,
)
from astra_core.middleware.inbox import INBOX
from astra_core.middleware.refusals import WITNESS
from astra_core.resilience import (
    BreakerParameters,
    CircuitBreaker,
    Constant,
    Deadlines,
    Limiter,
    LimiterParameters,
    RetryBudget,
    RetryBudgetParameters,
    RetryParameters,
    RetryPolicy,
    Sweep,
)
from astra_core.testing import FakeClock
from tests.unit.astra_core.asgi.recorders import Foreign
from tests.unit.astra_core.middleware.client import Client, answering, copying, failing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from astra_core.asgi import ASGIApp, Message, Receive, Scope, Send

KEYED: dict[str, Any] = {"method": "POST", "headers": [(b"idempotency-key", b"k")]}
PLAIN: frozenset[int] = frozenset()


def away() -> Exception:
    """A store that is away for a moment."""
    return StoreUnavailable("away", retry_after=0.0)


class World:
    """A policy of three tries a second apart; each try of the inside is the next of `tries`, the last one for ever."""

    def __init__(self, *tries: ASGIApp, retry: Any = None, **options: Any) -> None:
        self.clock = FakeClock()
        self.sweep = Sweep(clock=self.clock)
        self.events: list[Any] = []
        parameters = RetryParameters(attempts=3, backoff=Constant(1.0), **(retry or {}))
        self.policy = RetryPolicy(
            "edge", sweep=self.sweep, parameters=parameters, random=Random(7), listeners=self.events.append
        )
        self.tries: Sequence[ASGIApp] = tries
        self.begun: list[float] = []
        self.app = RetryMiddleware(self.run, retry=self.policy, clock=self.clock, **options)

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the next try."""
        self.begun.append(self.clock.monotonic() - 1_000)
        await self.tries[min(len(self.begun), len(self.tries)) - 1](scope, receive, send)

    async def ask(self, *parts: bytes, app: ASGIApp | None = None, **scope: Any) -> Client:
        """One request and its answer; raises what it raised."""
        task = Client(*parts).begin(app or self.app, **scope)
        await self.clock.run_for(60)
        return await task


@pytest.fixture(params=[False, True], ids=["errors only", "statuses too"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Both ways in which the layer works."""
    return {} if request.param else {"statuses": PLAIN}


async def test_what_failed_is_tried_again(options: dict[str, Any]) -> None:
    """With the policy's waits, until it answers."""
    world = World(failing(away), failing(ConnectionResetError), answering(200), **options)
    assert (await world.ask()).body == b"done"
    assert world.begun == [0.0, 1.0, 2.0]
    assert world.events == [
        RetryScheduled("edge", 1, 1.0, "StoreUnavailable"),
        RetryScheduled("edge", 2, 1.0, "ConnectionResetError"),
        RetrySucceeded("edge", 3),
    ]


async def test_in_the_end_the_error_is_the_applications_own(options: dict[str, Any]) -> None:
    """When no try is left, and when the policy does not take the error for one that passes."""
    for make, tries in ((away, 3), (lambda: ValueError("a bug"), 1)):
        world = World(failing(make), **options)
        with pytest.raises(type(make())):
            await world.ask()
        assert len(world.begun) == tries


async def test_answers_that_ask_for_it_are_tried_again() -> None:
    """And are held back meanwhile; the last one goes out as it is. With no statuses the first one does."""
    bad = answering(503, b"try later", retry_after="2", x_number="1")
    world = World(bad, answering(502), answering(200))
    assert (await world.ask()).status == 200
    assert world.begun == [0.0, 3.0, 4.0]
    world = World(bad)
    answer = await world.ask()
    assert (answer.status, answer.body, answer.headers[b"x-number"]) == (503, b"try later", b"1")
    assert world.begun == [0.0, 3.0, 6.0]
    for world in (World(bad, statuses=PLAIN), World(bad, statuses=frozenset({500}))):
        assert (await world.ask()).status == 503
        assert len(world.begun) == 1


async def test_a_date_to_come_back_at_is_understood() -> None:
    """By the wall clock that the layer is given; what is no date is no wait."""
    for value, begun in (("Tue, 14 Nov 2023 22:13:25 GMT", [0.0, 6.0]), ("soon", [0.0, 1.0])):
        world = World(answering(503, Retry_After=value), answering(200))
        assert (await world.ask()).status == 200
        assert world.begun == begun


@pytest.mark.parametrize(
    ("scope", "tries"),
    [
        *(({"method": method}, 3) for method in ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")),
        *(({"method": method}, 1) for method in ("POST", "PATCH", "CONNECT", "LINK")),
        (KEYED, 3),
        (KEYED | {"method": "PATCH"}, 3),
        ({"method": "GET", "http_version": "2"}, 3),
    ],
)
async def test_only_what_may_be_done_twice_is(scope: dict[str, Any], tries: int, options: dict[str, Any]) -> None:
    """Idempotent methods by RFC 9110, and whatever carries an idempotency key."""
    world = World(failing(away), **options)
    with pytest.raises(StoreUnavailable):
        await world.ask(**scope)
    assert len(world.begun) == tries


async def test_the_key_has_the_name_that_it_is_given(options: dict[str, Any]) -> None:
    """In any case of letters."""
    world = World(failing(away), key_header=b"X-Once", **options)
    with pytest.raises(StoreUnavailable):
        await world.ask(method="POST", headers=[(b"x-once", b"k")])
    assert len(world.begun) == 3


def reading(parts: int | None, then: ASGIApp, seen: list[bytes]) -> ASGIApp:
    """Return an application that reads so many parts of the body, all of them if None, and does as `then`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, count, more = b"", 0, True
        while more and count != parts:
            message = await receive()
            body, count, more = body + message["body"], count + 1, message["more_body"]
        seen.append(body)
        await then(scope, receive, send)

    return app


@pytest.mark.parametrize("scope", [{"method": "PUT"}, KEYED, {"method": "GET", "http_version": "2"}])
async def test_a_body_is_read_again_from_the_beginning(scope: dict[str, Any], options: dict[str, Any]) -> None:
    """However much of it the try before had read; the rest comes from the client."""
    seen: list[bytes] = []
    world = World(
        reading(1, failing(away), seen), reading(2, failing(away), seen), reading(None, answering(), seen), **options
    )
    assert (await world.ask(b"one ", b"two ", b"three", **scope)).status == 200
    assert seen == [b"one ", b"one two ", b"one two three"]


async def test_a_body_that_is_too_large_is_passed_on_and_not_kept(options: dict[str, Any]) -> None:
    """It arrives whole, and is not tried again; the limit itself is still kept."""
    for size, tries in ((10, 3), (11, 1)):
        seen: list[bytes] = []
        world = World(reading(None, failing(away), seen), max_body=10, **options)
        with pytest.raises(StoreUnavailable):
            await world.ask(b"x" * 5, b"x" * (size - 5), method="PUT")
        assert seen == [b"x" * size] * tries
    world = World(reading(None, answering(503), seen), max_body=10)
    assert (await world.ask(b"x" * 11, method="PUT")).status == 503
    assert len(world.begun) == 1


async def test_a_get_that_declares_a_body_is_not_repeated_without_it() -> None:
    """Where nobody has looked at its body."""
    for headers, tries in (
        ([(b"content-length", b"5")], 1),
        ([(b"transfer-encoding", b"chunked")], 1),
        ([(b"content-length", b"0")], 3),
    ):
        world = World(failing(away), statuses=PLAIN)
        with pytest.raises(StoreUnavailable):
            await world.ask(headers=headers)
        assert len(world.begun) == tries


async def test_nothing_is_sent_twice(options: dict[str, Any]) -> None:
    """Once an answer has begun an error goes on as it is; the answer is not held back, and it streams."""
    sent: list[int] = []

    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        sent.append(len(client.sent))
        raise away()

    world, client = World(half, **options), Client()
    with pytest.raises(StoreUnavailable):
        await client.ask(world.app)
    assert (sent, client.body, len(world.begun)) == ([2], b"half", 1)


async def test_a_bad_answer_that_is_large_is_passed_on() -> None:
    """What is held has a bound, and order is kept."""

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        for _ in range(4):
            await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    world = World(large, max_body=10)
    answer = await world.ask()
    assert (answer.status, answer.body, len(world.begun)) == (503, b"12345" * 4 + b"end", 1)


async def test_a_bad_answer_that_is_large_and_breaks_off_is_not_tried_again() -> None:
    """It was on its way."""

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 11, "more_body": True})
        raise away()

    world, client = World(large, max_body=10), Client()
    with pytest.raises(StoreUnavailable):
        await client.ask(world.app)
    assert (client.body, len(world.begun)) == (b"x" * 11, 1)


async def test_a_bad_answer_that_breaks_off_is_tried_again() -> None:
    """Nothing of it has left. When there is no further try it leaves as it would have without this layer."""
    world = World(failing(away, status=503), answering(200))
    assert (await world.ask()).status == 200
    world, client = World(failing(away, status=503)), Client()
    task = client.begin(world.app)
    await world.clock.run_for(10)
    assert isinstance(task.exception(), StoreUnavailable)
    assert (client.status, len(world.begun)) == (503, 3)


async def test_information_goes_out_at_once() -> None:
    """Early hints are no answer."""

    async def hinting(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": []})
        await answering(503 if len(world.begun) == 1 else 200)(scope, receive, send)

    world = World(hinting)
    answer = await world.ask()
    assert [message["type"] for message in answer.sent] == [
        *["http.response.early_hint"] * 2,
        *("http.response.start", "http.response.body"),
    ]


@pytest.mark.parametrize("between", [lambda app: app, Foreign, copying], ids=["fused", "foreign", "copying"])
@pytest.mark.parametrize("kind", ["error", "cause", "answer", "limiter", "breaker"])
async def test_refusals_of_our_own_are_not_tried_again(
    kind: str, between: Callable[[ASGIApp], ASGIApp], options: dict[str, Any]
) -> None:
    """Trying again at once is what they are there to stop; not even where the policy would."""
    world = World(**options)
    limiter = Limiter("inner", sweep=world.sweep, parameters=LimiterParameters(limit=1, queue=0))
    limiter.try_acquire()
    breaker = CircuitBreaker(name="inner", clock=world.clock)
    breaker.force_open()

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        raise away() from Overloaded("x", limit=1)

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        mark_refused(scope, 503)
        await answering(503)(scope, receive, send)

    kinds: dict[str, ASGIApp] = {
        "error": failing(lambda: Overloaded("x", limit=1)), "cause": wrapped, "answer": told,
        "limiter": LimiterMiddleware(answering(), limiter=limiter),
        "breaker": BreakerMiddleware(answering(), breaker=lambda _: breaker, key=lambda _: "x", clock=world.clock),
    }  # fmt: skip
    world.tries = [kinds[kind]]
    world.policy._retry_on = lambda error: True
    app = RetryMiddleware(between(world.run), retry=world.policy, clock=world.clock, **options)
    if kind in {"error", "cause"}:
        with pytest.raises((Overloaded, StoreUnavailable)):
            await world.ask(app=app)
    else:
        assert (await world.ask(app=app)).status == 503
    assert len(world.begun) == 1


@pytest.mark.parametrize("when", ["reading", "waiting"])
async def test_nothing_is_tried_again_for_a_client_that_left(when: str, options: dict[str, Any]) -> None:
    """Whether the application was told, or it left while we waited to try again."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if when == "reading":
            while (await receive())["type"] != "http.disconnect":
                pass
        raise away()

    for method, once in (("GET", False), ("PUT", False), ("PUT", True)):
        world, client = World(app, **options), Client(once=once)
        task = client.begin(world.app, method=method)
        await world.clock.run_for(0.5)
        client.leave()
        await world.clock.run_for(10)
        assert isinstance(task.exception(), StoreUnavailable)
        # Without statuses nobody looks at what a GET reads: that it was told is found out before the second try.
        assert len(world.begun) == 1
        assert len(asyncio.all_tasks()) == 1


async def test_what_is_read_ahead_for_that_is_not_lost(options: dict[str, Any]) -> None:
    """Looking for the client between tries leaves the rest of the body to the next try."""
    seen: list[bytes] = []
    world = World(reading(1, failing(away), seen), reading(None, answering(), seen), **options)
    assert (await world.ask(b"one", b"two", b"three", method="PUT")).status == 200
    assert seen == [b"one", b"onetwothree"]
    assert len(asyncio.all_tasks()) == 1
    told: list[str] = []

    async def listening(scope: Scope, receive: Receive, send: Send) -> None:
        if len(world.begun) == 1:
            raise away()
        told.extend([(await receive())["type"] for _ in range(2)])

    world, client = World(listening, **options), Client()
    task = client.begin(world.app)
    await world.clock.run_for(2)
    assert told == []
    client.leave()
    await asyncio.wait([task])
    assert told == ["http.request", "http.disconnect"]


async def test_a_cancellation_is_not_tried_again(options: dict[str, Any]) -> None:
    """Neither one inside a try nor one that strikes between two."""
    world = World(failing(away), **options)
    task = Client().begin(world.app)
    await world.clock.run_for(0.5)
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), len(world.begun)) == (True, 1)
    world = World(failing(asyncio.CancelledError), **options)
    with pytest.raises(asyncio.CancelledError):
        await world.ask()
    assert len(world.begun) == 1


async def test_the_deadline_bounds_all_tries(options: dict[str, Any]) -> None:
    """No wait begins that it would not survive, and it cuts off the try under way."""
    world = World(failing(away), **options)
    deadlines = Deadlines("request", sweep=world.sweep)
    with pytest.raises(StoreUnavailable):
        await world.ask(app=DeadlineMiddleware(world.app, deadlines=deadlines, budget=None))
    assert len(world.begun) == 3
    world = World(failing(away), retry={"max_retry_after": 30.0}, **options)
    world.tries = [failing(lambda: StoreUnavailable("away", retry_after=9.0))]
    app = DeadlineMiddleware(world.app, deadlines=Deadlines("request", sweep=world.sweep))
    with pytest.raises(StoreUnavailable):
        await world.ask(app=app)
    assert world.events == [RetryGivenUp("edge", 1, "deadline", "StoreUnavailable")]

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    world = World(failing(away), hang, **options)
    app = DeadlineMiddleware(world.app, deadlines=Deadlines("request", sweep=world.sweep))
    assert (await world.ask(app=app)).status == 504
    assert len(world.begun) == 2


async def test_each_request_pays_once_into_the_budget(options: dict[str, Any]) -> None:
    """Whether or not it is tried again; what may not be tried again pays nothing."""
    rules = RetryBudgetParameters(ratio=0.5, floor=0.0, window=1_000.0)
    for tries, balance in ((answering(), 5), (failing(ValueError), 5)):
        world = World(tries, **options)
        world.policy.budget = budget = RetryBudget(parameters=rules, clock=world.clock)
        for _ in range(10):
            client = Client()
            task = client.begin(world.app)
            await asyncio.wait([task])
            task.exception()
        await Client().ask(RetryMiddleware(answering(), retry=world.policy, **options), method="POST")
        assert budget.balance == balance
    world = World(failing(away), **options)
    world.policy.budget = budget = RetryBudget(parameters=rules, clock=world.clock)
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            await world.ask()
    assert len(world.begun) == 30
    assert budget.balance == 0
    assert repr(budget) in repr(world.policy)


async def test_a_try_has_its_own_time_until_its_answer_begins() -> None:
    """One that hangs is cut off and the next one begins; a stream is not cut off."""

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await world.clock.sleep(10)
        await send({"type": "http.response.body", "body": b"late"})

    world = World(hang, stream, retry={"try_timeout": 2.0})
    assert (await world.ask()).body == b"late"
    assert world.begun == [0.0, pytest.approx(3.0, abs=0.02)]


async def test_a_try_that_answers_its_own_end_is_the_last() -> None:
    """It began to answer in the moment in which it was cut off: there is no second answer."""

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise

    world, client = World(late, retry={"try_timeout": 2.0}), Client()
    task = client.begin(world.app)
    await world.clock.run_for(10)
    assert isinstance(task.exception(), AstraError)
    assert (client.status, len(world.begun)) == (200, 1)


async def test_each_try_has_the_scope_as_it_came(options: dict[str, Any]) -> None:
    """Routers change it: a mounted route is found by the second try too. What was noted is seen further out."""
    tries: list[str] = []
    numbers: list[int] = []

    async def page(request: Request) -> PlainTextResponse:
        tries.append(request.scope["root_path"])
        request.state.number = getattr(request.state, "number", 0) + 1
        numbers.append(request.state.number)
        if len(tries) < 3:
            raise away()
        return PlainTextResponse(request.url.path)

    inner = Router([Mount("/a", routes=[Mount("/b", routes=[Route("/{c}", page)])])])
    world = World(inner, **options)
    answer = await world.ask(path="/a/b/c", state={})
    assert (answer.status, answer.body) == (200, b"/a/b/c")
    assert tries == ["/a/b"] * 3
    if not options:
        assert numbers == [1, 1, 1]
    scope: dict[str, Any] = {}

    async def outer(asked: Scope, receive: Receive, send: Send) -> None:
        await world.app(asked, receive, send)
        scope.update(asked)

    await world.ask(app=outer, path="/a/b/c")
    assert scope["path_params"] == {"c": "c"}
    assert WITNESS not in scope
    assert INBOX not in scope


async def test_each_try_meets_the_layers_inside_anew(options: dict[str, Any]) -> None:
    """A breaker counts every try, and once it has opened the next try is refused; no permit is held in between."""
    world = World(failing(away), **options)
    breaker = CircuitBreaker(name="x", parameters=BreakerParameters.consecutive(2, open_for=60.0), clock=world.clock)
    limiter = Limiter("inner", sweep=world.sweep)
    stack = RequestIdMiddleware(
        RetryMiddleware(
            LimiterMiddleware(
                BreakerMiddleware(world.run, breaker=lambda _: breaker, key=lambda _: "x", clock=world.clock),
                limiter=limiter,
            ),
            retry=world.policy, clock=world.clock, **options,
        )
    )  # fmt: skip
    client = Client()
    task = client.begin(stack)
    await world.clock.run_for(0.5)
    assert limiter.in_use == 0
    await world.clock.run_for(10)
    assert (await task).status == 503
    assert (client.problem["type"], len(world.begun)) == ("urn:astra:problem:circuit-open", 2)
    assert limiter.in_use == 0


async def test_other_messages_pass_untouched() -> None:
    """A held answer keeps the order of everything that belongs to it, trailers too."""

    async def trailing(scope: Scope, receive: Receive, send: Send) -> None:
        for message in sent:
            await send(message)

    sent: list[Message] = [
        {"type": "http.response.start", "status": 503, "headers": [], "trailers": True},
        {"type": "http.response.body", "body": b"x"},
        {"type": "http.response.trailers", "headers": []},
    ]
    assert (await World(trailing).ask()).sent == sent
