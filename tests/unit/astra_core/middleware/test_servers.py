"""The whole stack behind uvicorn and hypercorn: clients that leave, and answers that stream."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import h2.connection
import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from astra_core.middleware import (
    BreakerMiddleware,
    DeadlineMiddleware,
    DisconnectMiddleware,
    LimiterMiddleware,
    RequestIdMiddleware,
    RetryMiddleware,
    RouteKeys,
)
from astra_core.resilience import CircuitBreaker, Limiter, RetryPolicy, Sweep, remaining
from tests.unit.astra_core.middleware.real_servers import SERVERS, serving, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from astra_core.asgi import ASGIApp


class Service:
    """A Starlette application behind every layer; it notes how its handlers end."""

    def __init__(self, *, budget: float = 5.0) -> None:
        self.begun = 0
        self.ends: list[str] = []
        routes = [
            Route("/wait", self.wait, methods=["GET", "POST"]),
            Route("/late", self.late, methods=["POST"]),
            Route("/stream", self.stream),
            Route("/good", self.good),
        ]
        sweep = Sweep()
        self.limiter = Limiter("edge", sweep=sweep)
        self.breaker = partial(
            BreakerMiddleware, breaker=lambda key: CircuitBreaker(1, name=key), key=RouteKeys(routes)
        )
        breaker = self.breaker(Starlette(routes=routes))
        self.breakers = breaker.breakers
        app: ASGIApp = RetryMiddleware(breaker, retry=RetryPolicy("edge", sweep=sweep))
        app = DisconnectMiddleware(app, sweep=sweep, after=0.02)
        app = LimiterMiddleware(app, limiter=self.limiter)
        self.app = RequestIdMiddleware(DeadlineMiddleware(app, budget=budget))

    async def wait(self, request: Request) -> PlainTextResponse:
        """Wait for a dependency that does not answer."""
        self.begun += 1
        await self._hang()
        return PlainTextResponse("never")

    async def late(self, request: Request) -> PlainTextResponse:
        """Look at the body after a while."""
        self.begun += 1
        await asyncio.sleep(0.2)
        return PlainTextResponse(str(len(await request.body())))

    async def stream(self, request: Request) -> StreamingResponse:
        """Stream for longer than the budget, or until the client leaves."""
        return StreamingResponse(self._parts(request.query_params.get("parts", "")))

    async def good(self, request: Request) -> PlainTextResponse:
        """Answer."""
        return PlainTextResponse("good")

    async def _parts(self, parts: str) -> AsyncIterator[str]:
        self.begun += 1
        try:
            for part in parts or iter(lambda: "x", ""):
                yield part
                await asyncio.sleep(0.05)
                assert remaining() > 1e9
        finally:
            self.ends.append("closed")

    async def _hang(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise


async def leave(port: int, request: bytes, service: Service) -> None:
    """Send a request and go as soon as it has begun."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    begun = service.begun
    await until(lambda: service.begun > begun)
    await asyncio.sleep(0.06)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
    ],
    ids=["get", "post"],
)
async def test_work_is_cancelled_when_its_client_leaves(
    server: str, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Its permit is free again, no breaker has counted it, and no log is full of it; others are served as before."""
    service = Service()
    async with serving(service.app, server) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for count in (1, 2):
            await leave(port, request_bytes, service)
            await until(lambda count=count: service.ends == ["cancelled"] * count)
            await until(lambda: service.limiter.in_use == 0)
        assert (await client.get("/good")).text == "good"
    assert service.breakers["/wait"].snapshot().calls == 0
    assert "CancelledError" not in caplog.text
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]


async def test_work_for_a_stream_that_was_reset_is_cancelled() -> None:
    """HTTP/2: the connection stays, the streams go, and so does the work for them (Rapid Reset leaves nothing)."""
    service = Service()
    async with serving(service.app, "hypercorn") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        headers = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/wait")]
        streams = [1, 3, 5]
        for stream in streams:
            connection.send_headers(stream, headers, end_stream=True)
        writer.write(connection.data_to_send())
        await until(lambda: service.begun == len(streams))
        await asyncio.sleep(0.06)
        for stream in streams:
            connection.reset_stream(stream)
        writer.write(connection.data_to_send())
        await until(lambda: service.ends == ["cancelled"] * len(streams))
        await until(lambda: service.limiter.in_use == 0)
        assert not reader.at_eof()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("server", SERVERS)
async def test_without_the_layer_nobody_cancels_it(server: str) -> None:
    """The servers tell those who ask, and no one else: this is what the layer is for."""
    service = Service()
    alone = DeadlineMiddleware(Starlette(routes=[Route("/wait", service.wait)]), budget=0.5)
    async with serving(alone, server) as port:
        await leave(port, b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n", service)
        await asyncio.sleep(0.15)
        assert service.ends == []
        await until(lambda: service.ends == ["cancelled"])  # by the deadline


@pytest.mark.parametrize("server", SERVERS)
async def test_a_body_that_was_read_ahead_arrives(server: str) -> None:
    """Small and large, whole and in parts, while the handler looks at it late."""
    service = Service()
    async with serving(service.app, server) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for size in (0, 10, 300_000):
            answer = await client.post("/late", content=b"x" * size)
            assert (answer.status_code, answer.text) == (200, str(size))

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(5):
                yield b"y" * 1000
                await asyncio.sleep(0.05)

        assert (await client.post("/late", content=parts())).text == "5000"


@pytest.mark.parametrize("server", SERVERS)
async def test_a_stream_lasts_as_long_as_it_likes(server: str) -> None:
    """Longer than the deadline, part by part as it comes, and it ends when its client leaves."""
    service = Service(budget=0.1)
    async with serving(service.app, server) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        async with client.stream("GET", "/stream?parts=abcdef") as answer:
            seen = [part async for part in answer.aiter_text()]
        assert (answer.status_code, seen) == (200, list("abcdef"))
        await leave(port, b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n", service)
        await until(lambda: service.ends == ["closed", "closed"])
        await until(lambda: service.limiter.in_use == 0)
    assert service.breakers["/stream"].snapshot().consecutive_failures == 0


@pytest.mark.parametrize("server", SERVERS)
async def test_a_deadline_answers_over_the_wire(server: str) -> None:
    """With 504, problem+json and the id of the request."""
    service = Service(budget=0.1)
    async with serving(service.app, server) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.get("/wait")
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"]) == (504, 504)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert service.breakers["/wait"].consecutive_failures == 1
