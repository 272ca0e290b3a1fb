"""The middleware round the shortener: what is refused, what passes, and what memory answers all the same."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from app.api import Current
from app.edge import Drain, Freshness, build_edge
from app.edge.policies import is_not_the_routes
from app.imports import NoRoom, TooManyUploads
from app.settings import Breaker, Bulkhead, Protection, Retry
from astra_core.errors import StoreUnavailable
from astra_core.middleware import AccessLogMiddleware
from astra_core.telemetry import LIBRARY, Metrics
from tests.unit.app.clicks.doubles import until
from tests.unit.app.edge.policies import as_given, edge_policies
from tests.unit.astra_core.asgi.driver import Server, call, http_scope

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Message, Receive, Scope, Send
    from tests.unit.app.edge.conftest import Edge

ONCE = Retry(attempts=1)


def stack(edge: Edge, **settings: object) -> ASGIApp:
    """Return the shortener's stack with other settings."""
    return edge.stack(Drain(), settings=Protection(**{"retry": ONCE, **settings}))  # type: ignore[arg-type]


async def begin(app: ASGIApp, scope: Scope, *, leave: asyncio.Event | None = None) -> tuple[asyncio.Task[None], Server]:
    """Start a request in a task of its own, and let it come as far as it comes; its client goes at `leave`."""
    server = Server()

    async def receive() -> Message:
        assert leave is not None
        await leave.wait()
        return {"type": "http.disconnect"}

    async def run() -> None:
        await app(scope, server.receive if leave is None else receive, server.send)

    task = asyncio.create_task(run())
    for _ in range(10):
        await asyncio.sleep(0)
    return task, server


async def test_known_links_redirect_when_the_service_is_full(edge: Edge) -> None:
    """Memory needs no permit: what waits for the store is refused, and the cached link is answered."""
    app = stack(edge, requests=Bulkhead(limit=1, queue=0))
    assert (await call(app, http_scope("/abc"))).status == 302
    edge.store.hold()
    waiting, _ = await begin(app, http_scope("/unknown"))
    refused = await call(app, http_scope("/another"))
    assert (refused.status, refused.problem["type"]) == (503, "urn:astra:problem:overloaded")
    assert refused.headers[b"retry-after"] == b"1"
    assert (await call(app, http_scope("/abc"))).status == 302
    edge.store.release()
    await waiting
    assert (await call(app, http_scope("/another"))).status == 404


async def test_redirects_go_before_management(edge: Edge) -> None:
    """One permit, and a queue of one: a redirect takes the place of a management request, never the other way."""
    app = stack(edge, requests=Bulkhead(limit=1, queue=1))
    edge.store.hold()
    holder, _ = await begin(app, http_scope("/first"))
    management, refused = await begin(app, http_scope("/v1/links"))
    redirect, answered = await begin(app, http_scope("/second"))
    await management
    assert refused.status == 503
    assert (await call(app, http_scope("/v1/links"))).status == 503
    edge.store.release()
    await asyncio.wait([holder, redirect])
    assert answered.status == 404


async def test_one_connection_cannot_take_everything(edge: Edge) -> None:
    """An HTTP/2 client with too many requests under way gets 429, and another client is served."""
    app = stack(edge, per_connection=2)
    edge.store.hold()
    scopes = [{**http_scope(f"/code{number}"), "http_version": "2", "client": ("10.0.0.1", 7)} for number in range(3)]
    waiting = [await begin(app, scope) for scope in scopes[:2]]
    assert (await call(app, scopes[2])).status == 429
    other, served = await begin(app, {**scopes[2], "client": ("10.0.0.1", 8)})
    edge.store.release()
    await asyncio.wait([other, *(task for task, _ in waiting)])
    assert served.status == 404
    assert (await call(app, scopes[2])).status == 404


async def test_a_request_that_takes_too_long_is_cut_off(edge: Edge) -> None:
    """504 after the deadline, while a cached link takes no notice."""
    app = stack(edge, deadline=2.0)
    assert (await call(app, http_scope("/abc"))).status == 302
    edge.store.hold()
    task, server = await begin(app, http_scope("/unknown"))
    await edge.clock.run_for(1.9)
    assert not task.done()
    await edge.clock.run_for(0.2)
    await task
    assert (server.status, server.problem["type"]) == (504, "urn:astra:problem:deadline-exceeded")
    assert (await call(app, http_scope("/abc"))).status == 302
    edge.store.release()


@pytest.mark.parametrize(("proxies", "after"), [((), 2.0), (("127.0.0.1",), 0.5)])
async def test_only_trusted_proxies_shorten_the_deadline(edge: Edge, proxies: tuple[str, ...], after: float) -> None:
    """`X-Request-Deadline` of anybody else is not looked at."""
    app = stack(edge, deadline=2.0, trusted_proxies=proxies)
    edge.store.hold()
    task, server = await begin(app, http_scope("/unknown", headers=[(b"x-request-deadline", b"500")]))
    await edge.clock.run_for(after - 0.1)
    assert not task.done()
    await edge.clock.run_for(0.2)
    await task
    assert server.status == 504
    edge.store.release()


@pytest.mark.parametrize(("proxies", "taken"), [((), False), (("127.0.0.0/8",), True)])
async def test_an_id_is_taken_over_from_trusted_proxies_only(edge: Edge, proxies: tuple[str, ...], taken: bool) -> None:
    """The problem and the answer's header carry one id; a redirect carries none."""
    app = stack(edge, trusted_proxies=proxies)
    headers = [(b"x-request-id", b"from-the-proxy")]
    answer = await call(app, http_scope("/unknown", headers=headers))
    told = answer.headers[b"x-request-id"].decode()
    assert answer.problem["request_id"] == told
    assert (told == "from-the-proxy") is taken
    assert taken or re.fullmatch("[0-9a-f]{32}", told)
    assert b"x-request-id" not in (await call(app, http_scope("/abc", headers=headers))).headers


async def test_a_route_that_fails_is_left_alone_and_redirects_are_not(edge: Edge) -> None:
    """Management routes have breakers; faults of the caller and the store's refusals open none; redirects have none."""
    failing: list[BaseException] = []

    async def links(scope: Scope, receive: Receive, send: Send) -> None:
        if failing:
            raise failing[0]
        await edge.management(scope, receive, send)

    settings = Protection(retry=ONCE, breaker=Breaker(minimum_calls=4, open_for=2.0, open_jitter=0.0, ramp=0.0))
    policies = edge_policies(edge.clock, settings=settings)
    object.__setattr__(policies, "key", lambda scope: "/v1/links" if scope["path"].startswith("/v1/links") else None)
    edge.redirects._management = links
    app = build_edge(
        edge.redirects,
        resolver=edge.resolver,
        journal=edge.journal,
        freshness=Freshness(0.0),
        current=Current(as_given()),
        metrics=Metrics(LIBRARY, clock=edge.clock),
        access_log=AccessLogMiddleware,
        drain=Drain(),
        policies=policies,
        problems=edge.problems,
    )
    failing[:] = [StoreUnavailable("away")]
    assert [(await call(app, http_scope("/v1/links"))).status for _ in range(8)] == [503] * 8
    failing.clear()
    assert (await call(app, http_scope("/v1/links"))).status == 299  # the store has a breaker of its own
    edge.clock.advance(60.0)
    failing[:] = [ValueError("a bug")]
    assert [(await call(app, http_scope("/v1/links"))).status for _ in range(4)] == [500] * 4
    refused = await call(app, http_scope("/v1/links"))
    assert (refused.status, refused.problem["type"]) == (503, "urn:astra:problem:circuit-open")
    assert refused.headers[b"retry-after"] == b"2"
    assert (await call(app, http_scope("/abc"))).status == 302
    assert (await call(app, http_scope("/unknown"))).status == 404
    failing.clear()
    edge.clock.advance(2.0)
    assert [(await call(app, http_scope("/v1/links"))).status for _ in range(5)] == [299] * 5


async def test_a_client_that_has_gone_ends_its_request(edge: Edge) -> None:
    """What waits for the store is cancelled, and gives its permit back."""
    app = stack(edge, requests=Bulkhead(limit=1, queue=0))
    edge.store.hold()
    gone = asyncio.Event()
    task, server = await begin(app, http_scope("/unknown"), leave=gone)
    gone.set()
    await edge.clock.run_for(0.5)
    await until(task.done)
    assert server.sent == []
    edge.store.release()
    assert (await call(app, http_scope("/unknown"))).status == 404


async def test_a_visit_that_is_taken_is_counted(edge: Edge) -> None:
    """Also of a client that left while the store took it: what its limit lost, its visits show."""
    await edge.create("few", max_visits=3)
    app = stack(edge)
    assert (await call(app, http_scope("/few"))).status == 302
    before, gate = edge.journal.recorded, edge.store.gate_commits()
    gone = asyncio.Event()
    task, _ = await begin(app, http_scope("/few"), leave=gone)
    gone.set()
    await edge.clock.run_for(0.5)
    await until(task.done)
    assert (edge.journal.recorded, await edge.remaining("few")) == (before, 2)
    gate.set()
    await until(lambda: edge.journal.recorded == before + 1)
    assert await edge.remaining("few") == 1


async def test_a_visit_that_may_have_been_taken_is_not_taken_again(edge: Edge) -> None:
    """A commit in doubt is answered 503: another try would take a second visit for one request."""
    await edge.create("few", max_visits=3)
    app = stack(edge, retry=Retry(attempts=3, base=0.001, cap=0.001))
    assert (await call(app, http_scope("/few"))).status == 302
    edge.store.doubts = 1
    assert (await call(app, http_scope("/few"))).status == 503
    assert (edge.store.takes, await edge.remaining("few")) == (2, 1)


async def test_uploads_that_find_no_room_open_no_breaker(edge: Edge) -> None:
    """Whoever fills the quota, or all the places, would shut the route for those who only look."""
    for error in (NoRoom(10), TooManyUploads(4), StoreUnavailable("away")):
        assert is_not_the_routes(error)
    assert not is_not_the_routes(ValueError("a bug"))
