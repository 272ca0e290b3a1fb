"""A dependency over HTTP: an application under uvicorn, asked with httpx."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import httpx
import uvicorn

from astra_core.testing import FaultProxy
from tests.integration.faults.front import front
from tests.integration.faults.policies import guard_of
from tests.integration.faults.subject import Ask, Subject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from astra_core.asgi import Receive, Scope, Send

__all__ = ["upstream"]

_BODY = b"what was asked for, and not too short" * 4
_GRACE = 1


@asynccontextmanager
async def upstream() -> AsyncIterator[Subject]:
    """A service that answers for another one."""
    guard = guard_of("upstream")
    async with (
        _served() as port,
        FaultProxy("127.0.0.1", port) as proxy,
        httpx.AsyncClient(base_url=f"http://{proxy.host}:{proxy.port}", timeout=30.0) as client,
    ):

        async def ask() -> str:
            try:
                return (await client.get("/")).raise_for_status().text
            except httpx.TransportError as error:
                raise ConnectionError(f"upstream: {error!r}") from error

        transport = httpx.ASGITransport(front(ask, guard), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            asks = (Ask(what="upstream", path="/", well=200),)
            yield Subject(http=http, proxy=proxy, breakers=(guard.breaker,), asks=lambda: asks)


class _Server(uvicorn.Server):
    """uvicorn in a loop that is not its own: signals stay the test's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def _served() -> AsyncIterator[int]:
    config = uvicorn.Config(
        _answer, port=0, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE
    )
    server = _Server(config)
    task = asyncio.ensure_future(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"%d" % len(_BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _BODY})
