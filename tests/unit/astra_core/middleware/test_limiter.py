"""The limiter round requests: who runs, who queues, who is refused, and that every permit comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.middleware import DeadlineMiddleware, LimiterMiddleware, connection
from astra_core.middleware.refusals import WITNESS, Witness
from astra_core.resilience import Deadlines, KeyedLimiter, Limiter, LimiterParameters, Priority, Sweep
from astra_core.testing import FakeClock
from tests.unit.astra_core.middleware.client import Client, answering, copying, failing, scope_of, turns

if TYPE_CHECKING:
    from astra_core.asgi import Receive, Scope, Send


class Work:
    """An application that waits until it is told how to end; it notes who runs."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Future[int]] = {}
        self.order: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, then answer."""
        path = scope["path"]
        scope["client"] = ("somebody", 1)  # as a proxy's middleware may
        self.order.append(path)
        self.running[path] = asyncio.get_running_loop().create_future()
        try:
            status = await self.running[path]
        finally:
            del self.running[path]
        await answering(status)(scope, receive, send)

    def end(self, path: str, status: int = 200) -> None:
        """Let a request answer."""
        self.running[path].set_result(status)


class World:
    """A limiter of two with a queue of two, a cap of one for each client, and what stands inside."""

    def __init__(self, inside: Any = None, *, limit: int = 2, queue: int = 2, **options: Any) -> None:
        self.clock = FakeClock()
        self.work = Work()
        self.sweep = Sweep(clock=self.clock)
        self.limiter = Limiter(
            "edge", sweep=self.sweep,
            parameters=LimiterParameters(limit=limit, queue=queue, timeout=0.5, retry_after=3.0),
            adaptive=options.pop("adaptive", None),
        )  # fmt: skip
        self.app = LimiterMiddleware(inside or self.work, limiter=self.limiter, clock=self.clock, **options)

    def idle(self) -> bool:
        """Whether nobody holds or waits for anything."""
        return (self.limiter.in_use, self.limiter.waiting, len(self.sweep)) == (0, 0, 0)


async def test_so_many_run_and_the_rest_queue() -> None:
    """Whoever queues runs as soon as somebody ends."""
    world = World()
    tasks = [Client().begin(world.app, path) for path in ("/a", "/b", "/c")]
    await turns()
    assert world.work.order == ["/a", "/b"]
    assert world.limiter.waiting == 1
    world.work.end("/a")
    await turns()
    assert world.work.order == ["/a", "/b", "/c"]
    world.work.end("/b")
    world.work.end("/c")
    assert [(await task).status for task in tasks] == [200, 200, 200]
    assert world.idle()


async def test_a_full_queue_refuses_at_once_and_a_long_wait_refuses_later() -> None:
    """With 503, problem+json and the wait that is suggested; the application did not run."""
    world = World(limit=1, queue=1)
    first, queued = Client().begin(world.app, "/a"), Client().begin(world.app, "/b")
    await turns()
    refused = await Client().ask(world.app, "/c")
    assert (refused.status, refused.headers[b"retry-after"]) == (503, b"3")
    assert refused.problem["type"] == "urn:astra:problem:overloaded"
    await world.clock.run_for(1)
    assert (await queued).status == 503
    assert world.work.order == ["/a"]
    world.work.end("/a")
    assert (await first).status == 200
    assert world.idle()


async def test_the_more_important_go_first() -> None:
    """By the scope; a constant serves where all are alike."""

    def priority(scope: Scope) -> Priority:
        return Priority.CRITICAL if scope["path"] == "/healthz" else Priority.BACKGROUND

    world = World(limit=1, queue=1, priority=priority)
    first, displaced = Client().begin(world.app, "/a"), Client().begin(world.app, "/b")
    await turns()
    health = Client().begin(world.app, "/healthz")
    assert (await displaced).status == 503
    world.work.end("/a")
    await turns()
    world.work.end("/healthz")
    assert (await first).status == (await health).status == 200
    assert world.idle()


@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize("end", ["answer", "error", "cancel", "half an answer"])
async def test_every_permit_comes_back(queued: bool, end: str) -> None:
    """However a request ends, whether or not it had to queue, and wherever it stands when it is cancelled."""
    inside = {
        "answer": answering(), "error": failing(ValueError), "half an answer": failing(ValueError, status=200),
        "cancel": failing(asyncio.CancelledError),
    }[end]  # fmt: skip
    world = World(inside, limit=1, per_client=KeyedLimiter("c", limit=1), client=lambda scope: scope["client"])
    if queued:
        assert world.limiter.try_acquire()
    task = Client().begin(world.app)
    await turns()
    if queued:
        world.limiter.release()
    await asyncio.wait([task])
    assert task.cancelled() is (end == "cancel")
    assert world.idle()
    assert len(world.app._per_client or ()) == 0


async def test_a_request_cancelled_in_the_queue_leaves_it() -> None:
    """It neither runs nor takes a permit with it, not even when it is granted one in the same turn."""
    world = World(limit=1)
    assert world.limiter.try_acquire()
    waiting, granted = Client().begin(world.app, "/a"), Client().begin(world.app, "/b")
    await turns()
    waiting.cancel()
    await turns()
    world.limiter.release()
    granted.cancel()
    await asyncio.wait([waiting, granted])
    assert world.work.order == []
    assert world.idle()


async def test_a_connection_has_its_share_and_no_more() -> None:
    """Refused at once with 429, whatever room there is; others are served, and the permits are those of the one who
    asked, whatever the application makes of the scope.
    """
    per_client = KeyedLimiter("connection", limit=1)
    world = World(limit=5, per_client=per_client)
    mine: dict[str, Any] = {"http_version": "2", "client": ("1.2.3.4", 5)}
    first = Client().begin(world.app, "/a", **mine)
    other = Client().begin(world.app, "/b", http_version="2", client=["1.2.3.4", 6])
    await turns()
    refused = await Client().ask(world.app, "/c", **mine)
    assert (refused.status, refused.headers[b"retry-after"]) == (429, b"1")
    assert refused.problem["type"] == "urn:astra:problem:too-many-at-once"
    world.work.end("/a")
    await first
    third = Client().begin(world.app, "/c", **mine)
    await turns()
    for path in ("/b", "/c"):
        world.work.end(path)
    assert (await other).status == (await third).status == 200
    assert world.idle()
    assert len(per_client) == 0


async def test_who_cannot_have_two_at_once_is_not_capped() -> None:
    """A connection of HTTP/1, and a client that the server does not name."""
    for version, client in (("1.1", ("1.2.3.4", 5)), ("1.0", ("1.2.3.4", 5)), ("2", None)):
        assert connection(scope_of(http_version=version, client=client)) is None
    assert connection(scope_of(http_version="3", client=["1.2.3.4", 5])) == ("1.2.3.4", 5)


async def test_a_scope_that_comes_twice_is_none_the_worse() -> None:
    """As when a request is tried again: what was refused the first time is counted the second time."""
    world = World(answering(), limit=1, queue=0)
    scope = scope_of()
    assert world.limiter.try_acquire()
    for status in (503, 200, 200):
        client = Client()
        await world.app(scope, client.receive, client.send)
        assert client.status == status
        if status == 503:
            world.limiter.release()
    assert world.idle()
    assert not [key for key in scope if key.startswith("astra.Limiter")]


@pytest.mark.parametrize("foreign", [False, True])
async def test_refusals_are_known_as_such_further_out(foreign: bool) -> None:
    """So that no breaker counts them."""
    world = World(limit=1, queue=0, per_client=KeyedLimiter("c", limit=1), client=lambda scope: scope["client"])
    app = copying(world.app) if foreign else world.app
    first = Client().begin(app, "/a", client=("1.2.3.4", 5))
    await turns()
    for client, status in ((("1.2.3.4", 5), 429), (("1.2.3.4", 6), 503)):
        witness = Witness(Witness(None))
        marked: dict[str, Any] = {WITNESS: witness}
        await Client().ask(app, "/b", client=client, **marked)
        assert (witness.refused, witness.outer and witness.outer.refused) == (status, status)
    first.cancel()
    await asyncio.wait([first])


class Seen:
    """An adaptive limit that never moves and remembers what it was told."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.seconds: list[float] = []

    def observe(self, seconds: float, in_use: int) -> int:
        """Remember."""
        self.seconds.append(seconds)
        return self.limit


async def test_an_adaptive_limit_learns_from_what_says_something_about_load() -> None:
    """Answers, queued for or not, without the wait; neither failures nor refusals."""
    adaptive = Seen(1)
    world = World(limit=1, adaptive=adaptive)
    first, second = Client().begin(world.app, "/a"), Client().begin(world.app, "/b")
    await world.clock.run_for(0.25)
    world.work.end("/a")
    await turns()
    await world.clock.run_for(0.5)
    world.work.end("/b", 404)
    await asyncio.wait([first, second])
    for path, status in (("/c", 500), ("/d", 200)):
        task = Client().begin(world.app, path)
        await turns()
        if status == 500:
            world.work.end(path, status)
        else:
            task.cancel()
        await asyncio.wait([task])
    assert adaptive.seconds == [0.25, 0.5]
    assert world.idle()


@pytest.mark.parametrize("queued", [False, True])
async def test_an_adaptive_limit_learns_from_our_own_deadline(queued: bool) -> None:
    """What it cut off was slow, and says so; what a caller's shorter one cut off says nothing."""
    for asked, learnt in ((None, [5.0]), (b"1000", [])):
        adaptive = Seen(1)
        world = World(limit=1, adaptive=adaptive)
        deadlines = Deadlines("request", sweep=world.sweep)
        app = DeadlineMiddleware(world.app, deadlines=deadlines, trusted=lambda scope: True)
        if queued:
            assert world.limiter.try_acquire()
        task = Client().begin(app, headers=[(b"x-request-deadline", asked)] if asked else [])
        await turns()
        if queued:
            world.limiter.release()
        await world.clock.run_for(5.1)
        assert (await task).status == 504
        assert adaptive.seconds == learnt
        assert world.idle()
