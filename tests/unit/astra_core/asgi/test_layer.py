"""What a chain of layers promises to each of its hooks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from astra_core.asgi import Exchange, Layer
from tests.unit.astra_core.asgi.driver import Server, call, http_scope
from tests.unit.astra_core.asgi.recorders import Act, Answer, Boom, Foreign, Log, Recorder

if TYPE_CHECKING:
    from starlette.requests import Request

    from astra_core.asgi import ASGIApp, Message, Receive, Scope, Send


def chain(log: Log, app: ASGIApp, **acts: Act) -> Recorder:
    """Stack recorders named a, b, …; the first is outermost."""
    for name, act in reversed(acts.items()):
        app = Recorder(app, name, log, act)
    assert isinstance(app, Recorder)
    return app


def hooks(log: Log) -> list[str]:
    """Return what ran, in short."""
    return [f"{entry[0]} {entry[1]}" for entry in log]


async def test_hooks_run_inwards_then_outwards() -> None:
    """`enter` runs from the outside in; `start` and `leave` from the inside out, the status known by then."""
    log: Log = []
    server = await call(chain(log, Answer("core", log), a=Act(), b=Act(), c=Act()), http_scope())
    assert hooks(log) == [
        *("enter a", "enter b", "enter c", "app core"),
        *("start c", "start b", "start a", "leave c", "leave b", "leave a"),
    ]
    assert [entry[2] for entry in log if entry[0] != "app"] == [0] * 6 + [200] * 3
    assert [value for name, value in server.sent[0]["headers"] if name == b"by"] == [b"c", b"b", b"a"]


async def test_a_refusal_stops_what_lies_inside() -> None:
    """The application named by `enter` answers; only the refusing layer and those round it see that, and leave."""
    log: Log = []
    server = await call(
        chain(log, Answer("core", log), a=Act(), b=Act(), c=Act(enter="answer"), d=Act(), e=Act()), http_scope()
    )
    assert server.status == 503
    assert hooks(log) == [
        *("enter a", "enter b", "enter c", "app enter of c"),
        *("start c", "start b", "start a", "leave c", "leave b", "leave a"),
    ]


async def test_a_layer_that_did_not_enter_takes_no_part() -> None:
    """When `enter` raises, the layers outside may rescue and all of them leave; the layer itself does neither."""
    log: Log = []
    app = chain(log, Answer("core", log), a=Act(rescue="answer"), b=Act(), c=Act(enter="raise"), d=Act())
    server = await call(app, http_scope())
    assert server.status == 503
    assert hooks(log) == [
        *("enter a", "enter b", "enter c", "rescue b", "leave b", "rescue a", "app rescue of a", "start a", "leave a")
    ]


async def test_the_innermost_rescue_that_answers_ends_it() -> None:
    """Outer layers then see an ordinary answer, and only `start` hooks from the rescuer outwards run."""
    log: Log = []
    app = chain(log, Answer("core", log, 0, Boom), a=Act(), b=Act(rescue="answer"), c=Act())
    server = await call(app, http_scope())
    assert server.status == 503
    assert hooks(log)[4:] == [
        *("rescue c", "leave c", "rescue b", "app rescue of b", "start b", "start a", "leave b", "leave a")
    ]


async def test_nothing_answers_twice() -> None:
    """Once the answer has begun a rescue may look at the error, and the error goes on to the server."""
    log: Log = []
    app = chain(log, Answer("core", log, 200, Boom), a=Act(rescue="answer"))
    server = Server()
    with pytest.raises(Boom, match="core"):
        await app(http_scope(), server.receive, server.send)
    assert [m["type"] for m in server.sent] == ["http.response.start", "http.response.body"]
    assert hooks(log)[-2:] == ["rescue a", "leave a"]


async def test_an_answer_that_a_start_hook_broke_was_not_sent() -> None:
    """So a rescue may still answer, and its answer passes the hooks from there outwards."""
    log: Log = []
    app = chain(log, Answer("core", log), a=Act(rescue="answer"), b=Act(start="raise"))
    server = await call(app, http_scope())
    assert server.status == 503
    assert hooks(log)[3:] == [*("start b", "rescue b", "leave b", "rescue a", "app rescue of a", "start a", "leave a")]


async def test_a_start_hook_may_change_the_status() -> None:
    """The exchange knows the status that was sent, not the one that was meant."""
    log: Log = []
    server = await call(chain(log, Answer("core", log), a=Act(start="teapot"), b=Act()), http_scope())
    assert server.status == 418
    assert log[-2:] == [("leave", "b", 418), ("leave", "a", 418)]


@pytest.mark.parametrize("failing", ["enter", "rescue", "leave", "core"])
async def test_who_entered_leaves_once(failing: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever raises, each layer that entered leaves exactly once; one that raises is logged and stops nobody."""
    log: Log = []
    act = Act(**{failing: "raise"}) if failing != "core" else Act()
    core = Answer("core", log, 0, None if failing in {"enter", "leave"} else Boom)
    app = chain(log, core, a=Act(), b=act, c=Act())
    server = Server()
    if failing == "leave":
        await app(http_scope(), server.receive, server.send)
        assert "a leave hook raised" in caplog.text
    else:
        with pytest.raises(Boom):
            await app(http_scope(), server.receive, server.send)
    entered = ["a"] if failing == "enter" else ["c", "b", "a"]
    assert [entry[1] for entry in log if entry[0] == "leave"] == entered


async def test_a_cancellation_may_be_rescued() -> None:
    """It is offered like an error, so that a layer can answer for a request it cancelled itself."""
    log: Log = []
    waiting = asyncio.Event()

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        waiting.set()
        await asyncio.Event().wait()

    server = Server()
    for act, ends in ((Act(rescue="answer"), 503), (Act(), 0)):
        waiting.clear()
        task = asyncio.create_task(_run(chain(log, hang, a=act), server := Server()))
        await waiting.wait()
        task.cancel("enough")
        await asyncio.wait([task])
        assert (task.cancelled(), server.status) == (not ends, ends)
    assert hooks(log).count("leave a") == 2


async def _run(app: ASGIApp, server: Server) -> None:
    await app(http_scope(), server.receive, server.send)


async def test_the_end_of_the_process_is_not_rescued() -> None:
    """`SystemExit` and its like pass every rescue, and everyone leaves."""
    log: Log = []
    app = chain(log, Answer("core", log, 0, SystemExit), a=Act(rescue="answer"), b=Act(rescue="answer"))
    with pytest.raises(SystemExit):
        await call(app, http_scope())
    assert hooks(log) == ["enter a", "enter b", "app core", "leave b", "leave a"]


async def test_an_abandoned_request_leaves_too() -> None:
    """A coroutine that is closed while it waits, as a loop does at its end, runs `leave` and nothing else."""
    log: Log = []

    class Never:
        def __await__(self) -> Any:
            yield

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        await Never()

    server = Server()
    request = chain(log, hang, a=Act(rescue="answer"))(http_scope(), server.receive, server.send)
    request.send(None)
    request.close()
    assert hooks(log) == ["enter a", "leave a"]


async def test_directly_stacked_layers_share_one_exchange_and_a_foreign_one_splits_them() -> None:
    """Fused layers see the same object; beyond a foreign middleware there is another one, with the same scope."""
    log: Log = []
    inner = chain(log, Answer("core", log), c=Act(), d=Act())
    outer = chain(log, Foreign(inner), a=Act(), b=Act())
    scope = http_scope()
    await call(outer, scope)
    a, b, c, d = outer, outer.app, inner, inner.app
    assert isinstance(b, Recorder)
    assert isinstance(d, Recorder)
    assert a.seen[0] is b.seen[0]
    assert c.seen[0] is d.seen[0]
    assert a.seen[0] is not c.seen[0]
    assert a.seen[0].scope is c.seen[0].scope is scope
    assert [len(layer.seen) for layer in (a, b, c, d)] == [1, 1, 1, 1]


async def test_a_layer_with_a_call_of_its_own_is_not_absorbed() -> None:
    """Its `__call__` runs as it was written, round what it wraps."""
    log: Log = []

    class Own(Recorder):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            self.log.append(("own", "begins"))
            await super().__call__(scope, receive, send)
            self.log.append(("own", "ends"))

    await call(Recorder(Own(Answer("core", log), "b", log), "a", log), http_scope())
    assert hooks(log) == [
        *("enter a", "own begins", "enter b", "app core", "start b", "start a", "leave b", "own ends", "leave a")
    ]


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_other_scopes_pass_untouched(kind: str) -> None:
    """Lifespan and websockets go straight to the application, with the server's own callables."""
    seen: list[tuple[object, ...]] = []

    async def core(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    log: Log = []
    server, scope = Server(), {"type": kind}
    receive, send = server.receive, server.send
    await chain(log, core, a=Act(enter="answer"), b=Act())(scope, receive, send)
    assert seen == [(scope, receive, send)]
    assert log == []


async def test_send_gives_back_the_servers_own_awaitable() -> None:
    """The wrapped `send` is a plain function: it adds no coroutine to a message."""
    sending = asyncio.get_running_loop().create_future()

    def send(message: Message) -> asyncio.Future[None]:
        return sending

    x = Exchange(http_scope(), Server().receive, send, ())
    assert x.send({"type": "http.response.body"}) is sending
    assert (x.status, x.started) == (0, False)
    assert x.send({"type": "http.response.start", "status": 204, "headers": []}) is sending
    assert (x.status, x.started) == (204, True)


async def test_a_server_that_refuses_the_start_has_not_been_answered() -> None:
    """When the server's `send` itself raises, nothing was sent, and a rescue may try."""
    log: Log = []
    refused: list[Message] = []
    server = Server()

    def send(message: Message) -> Any:
        if not refused:
            refused.append(message)
            raise Boom("not now")
        return server.send(message)

    await chain(log, Answer("core", log), a=Act(rescue="answer"))(http_scope(), server.receive, send)
    assert server.status == 503


async def test_a_layer_works_round_starlette_and_inside_it() -> None:
    """As the outermost application, and in Starlette's own list of middleware."""
    log: Log = []

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async def bug(request: Request) -> PlainTextResponse:
        raise Boom("in a route")

    routes = [Route("/hello", hello), Route("/bug", bug)]
    inside = Starlette(routes=routes, middleware=[Middleware(Recorder, name="in", log=log, act=Act(rescue="answer"))])
    app = chain(log, inside, out=Act())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answers = [await client.get(path) for path in ("/hello", "/bug", "/none")]
    assert [answer.status_code for answer in answers] == [200, 503, 404]
    assert [answer.headers.get_list("by") for answer in answers] == [["in", "out"]] * 3
    assert answers[0].text == "hello"


async def test_notes_are_made_at_first_use() -> None:
    """An exchange costs no dictionary until a layer keeps something in it, and shows what it is."""
    x = Exchange(http_scope("/abc"), Server().receive, Server().send, ())
    x.notes["mine"] = 1
    assert x.notes == {"mine": 1}
    assert repr(x) == "<Exchange GET '/abc' status=0>"
    assert repr(Layer(Foreign)) == f"Layer({Foreign!r})"  # type: ignore[arg-type]
