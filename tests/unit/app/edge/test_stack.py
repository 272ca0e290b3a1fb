"""The layers round the redirect path: what is cancelled, what fails, and what the log says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from app.edge import Drain, Draining, LastResort
from astra_core.asgi import Problems, RequestIds, Response
from astra_core.errors import CommitConflict, ConflictReason, Overloaded, StoreUnavailable
from tests.unit.app.clicks.doubles import until
from tests.unit.astra_core.asgi.driver import Server, call, http_scope

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Message, Receive, Scope, Send
    from tests.unit.app.edge.conftest import Edge


class Slow:
    """An application that waits: before its answer, or for `/half` after its first message."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer when told."""
        if scope["path"] == "/half":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        self.begun += 1
        await self.go.wait()
        await Response(200, b"done")(scope, receive, send)


def failing(error: BaseException, *, after: bool = False) -> ASGIApp:
    """Return an application that raises."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if after:
            await Response(200, b"half")(scope, receive, send)
        raise error

    return app


@pytest.fixture
def problems() -> Problems:
    """Return problems."""
    return Problems(RequestIds())


@pytest.fixture
def drain() -> Drain:
    """Return a shutdown that has not begun."""
    return Drain()


async def start(app: ASGIApp, path: str = "/slow") -> tuple[asyncio.Task[None], Server]:
    """Start one request in a task of its own, as a server does."""
    server = Server()

    async def run() -> None:
        await app(http_scope(path), server.receive, server.send)

    return asyncio.create_task(run()), server


async def test_only_requests_are_cancelled(problems: Problems, drain: Drain) -> None:
    """Requests are found wherever they wait; the lifespan and tasks of other kinds live on."""
    slow = Slow()
    app = LastResort(Draining(slow, drain=drain, problems=problems), problems=problems)
    started = [await start(app) for _ in range(3)]
    lifespan, _ = await start(app)
    other = asyncio.create_task(slow.go.wait())
    await until(lambda: slow.begun == 4)
    assert repr(drain) == "<Drain not begun>"
    assert drain.cancel(spare=lifespan) == 3
    assert repr(drain) == "<Drain begun>"
    await asyncio.wait([task for task, _ in started])
    assert [server.status for _, server in started] == [503] * 3
    assert not lifespan.done()
    assert not other.done()
    slow.go.set()
    await asyncio.wait([lifespan, other])
    assert drain.cancel() == 0


async def test_a_redirect_whose_client_does_not_read_is_found_too(edge: Edge, drain: Drain) -> None:
    """It waits in the server's `send`, past every layer that bounds waiting."""
    app = edge.stack(drain)
    await edge.get("/abc")
    full = asyncio.Event()

    async def send(message: Message) -> None:
        await full.wait()

    async def run() -> None:
        await app(http_scope("/abc"), Server().receive, send)

    task = asyncio.create_task(run())
    await until(lambda: edge.resolver.hits == 1)
    assert drain.cancel() == 1
    await asyncio.wait([task])
    assert task.cancelled()


async def test_shutdown_answers_for_what_it_cancels(problems: Problems, drain: Drain) -> None:
    """503 with `Retry-After`, and the task ends well; half an answer is broken off."""
    slow = Slow()
    app = Draining(slow, drain=drain, problems=problems)
    task, server = await start(app)
    half, half_server = await start(app, "/half")
    await until(lambda: slow.begun == 2)
    assert drain.cancel() == 2
    await asyncio.wait([task, half])
    assert server.problem["type"] == "urn:astra:problem:shutting-down"
    assert server.status == 503
    assert server.headers[b"retry-after"] == b"1"
    assert not task.cancelled()
    assert task.cancelling() == 0
    assert half.cancelled()
    assert half_server.sent == [{"type": "http.response.start", "status": 200, "headers": []}]


async def test_any_other_cancellation_is_not_answered(problems: Problems, drain: Drain) -> None:
    """A client that left, a server that gave up: who cancelled means it."""
    slow = Slow()
    app = LastResort(Draining(slow, drain=drain, problems=problems), problems=problems)
    task, server = await start(app)
    await until(lambda: slow.begun == 1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert server.sent == []


async def test_once_shutdown_began_the_servers_cancellation_is_answered(problems: Problems, drain: Drain) -> None:
    """A server may be quicker than we are; the client learns the same."""
    slow = Slow()
    drain.begin()
    task, server = await start(Draining(slow, drain=drain, problems=problems))
    await until(lambda: slow.begun == 1)
    task.cancel()
    await asyncio.wait([task])
    assert server.status == 503


async def test_a_bug_is_a_500_that_can_be_found_in_the_log(
    problems: Problems, caplog: pytest.LogCaptureFixture
) -> None:
    """The body says nothing of the error; the log has it, with the id that the body gives."""
    app = LastResort(failing(ValueError("the secret")), problems=problems)
    server = await call(app, http_scope("/x\ny"))
    assert server.status == 500
    assert b"secret" not in server.body
    (record,) = caplog.records
    assert server.problem["request_id"] in record.getMessage()
    assert "\n" not in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreUnavailable("gone", retry_after=2.4), 503),
        (Overloaded("pool", limit=1, retry_after=2.4), 503),
        (CommitConflict(ConflictReason.VERSION, write=0, key="k"), 409),
    ],
)
async def test_a_known_error_is_its_problem_and_no_log(
    problems: Problems, caplog: pytest.LogCaptureFixture, error: Exception, status: int
) -> None:
    """What is expected to happen is answered, with its wait rounded up."""
    server = await call(LastResort(failing(error), problems=problems), http_scope())
    assert server.status == status
    assert server.headers.get(b"retry-after") == (b"3" if status == 503 else None)
    assert caplog.records == []


async def test_an_error_behind_the_answer_goes_to_the_server(problems: Problems) -> None:
    """Nothing more can be said, and the server must not take the answer for whole."""
    server = Server()
    with pytest.raises(ValueError, match="late"):
        await LastResort(failing(ValueError("late"), after=True), problems=problems)(
            http_scope(), server.receive, server.send
        )
    assert server.status == 200


async def test_the_stack_stands_as_one_layer(edge: Edge, drain: Drain) -> None:
    """All of it together: a redirect, a store that is away, and a request that shutdown cancels."""
    app = edge.stack(drain)
    assert (await call(app, http_scope("/abc"))).status == 302
    assert (await call(app, http_scope("/v1/links"))).status == 299
    edge.store.away = True
    answer = await call(app, http_scope("/unknown"))
    assert answer.problem["type"] == "urn:astra:problem:store-unavailable"
    edge.store.away = False
    edge.store.hold()
    task, server = await start(app, "/another")
    await asyncio.sleep(0)
    assert drain.cancel() == 1
    await asyncio.wait([task])
    assert server.status == 503
    edge.store.release()
