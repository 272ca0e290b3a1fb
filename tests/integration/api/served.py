"""The whole application, opened in this process, with an HTTP client before it."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from app.main import compose
from app.settings import Cache, Clicks, Imports, Links, Metrics, Server, Settings, Store
from astra_core.config import as_loaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
    from pathlib import Path

    from astra_core.asgi import ASGIApp
    from astra_core.clock import Clock

__all__ = ["HOST", "Served", "client_of", "pointers", "problem_in", "serve", "settings_at", "until"]

HOST = "http://localhost"
DEADLINE = 20.0  # seconds after which waiting is a failure; nothing asserts how long a thing took
MEMBERS = {"type", "title", "status", "detail", "instance", "request_id", "errors"}


@dataclass(frozen=True)
class Served:
    """The client, and what a test asks for most."""

    http: httpx.AsyncClient

    async def create(self, url: str = "https://example.com/", **members: Any) -> dict[str, Any]:
        """Make a link that the rules allow."""
        response = await self.http.post("/v1/links", json={"url": url, **members})
        assert response.status_code in {200, 201}, response.text
        link: dict[str, Any] = response.json()
        return link

    async def read(self, code: str) -> dict[str, Any]:
        """Read a link that is there."""
        response = await self.http.get(f"/v1/links/{code}")
        assert response.status_code == 200, response.text
        link: dict[str, Any] = response.json()
        return link

    async def follow(self, code: str, method: str = "GET", **options: Any) -> int:
        """Visit a link; returns the status."""
        return (await self.http.request(method, f"/{code}", **options)).status_code

    async def counted(self, code: str, visits: int) -> None:
        """Wait until a link shows this many visits; more of them fail at once."""

        async def shown() -> bool:
            found = (await self.read(code))["visits"]
            assert found <= visits
            return bool(found == visits)

        await until(shown)


async def until(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Poll until `condition` holds, or fail at the deadline."""
    end = time.monotonic() + DEADLINE
    while not await condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        await asyncio.sleep(0.01)


def settings_at(
    folder: Path,
    kind: str,
    *,
    links: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
    cache: Mapping[str, Any] | None = None,
    imports: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings for a store of this kind in `folder`, with some of a section replaced."""
    url = "memory:" if kind == "memory" else f"sqlite:{folder / 'astra.db'}"
    return Settings(
        store=Store(url=url),
        links=Links(**(links or {})),
        server=Server(**(server or {})),
        cache=Cache(**{"poll_interval": 0.01, **(cache or {})}),
        clicks=Clicks(journal=str(folder / "journal"), segment_size=64 * 1024, quota=4 * 1024**2, apply_interval=0.02),
        imports=Imports(**{"folder": str(folder / "imports"), **(imports or {})}),
        metrics=Metrics(folder=str(folder / "metrics")),
    )


def client_of(application: ASGIApp) -> httpx.AsyncClient:
    """A client that raises nothing and follows nothing: every answer is looked at."""
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=HOST)


@asynccontextmanager
async def serve(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Served]:
    """Open the application, and close it."""
    application = compose(as_loaded(settings), clock=clock)
    await application.open()
    try:
        async with client_of(application) as http:
            yield Served(http)
    finally:
        await application.close()


def problem_in(response: httpx.Response, status: int, kind: str | None = None) -> dict[str, Any]:
    """Return the problem in an answer after checking its form: RFC 9457 and the members that Astra adds."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    body: dict[str, Any] = response.json()
    assert set(body) | {"errors"} == MEMBERS
    assert body["status"] == status
    path = quote(response.request.url.path[:512], safe="/")
    assert body["instance"] == ("/." + path if path.startswith("//") else path)
    assert re.fullmatch("[0-9a-f]{32}", body["request_id"])
    assert response.headers.get_list("x-request-id") == [body["request_id"]]
    assert body["title"]
    assert body["detail"].endswith(".")
    assert kind is None or body["type"] == (kind if ":" in kind else f"urn:astra:problem:{kind}")
    for error in body.get("errors", ()):
        assert set(error) == {"pointer", "detail"}
        assert error["pointer"] == "" or error["pointer"].startswith("/")
        assert error["detail"]
    return body


def pointers(problem: Mapping[str, Any]) -> list[str]:
    """Return which members a problem complains of."""
    return [error["pointer"] for error in problem.get("errors", ())]
