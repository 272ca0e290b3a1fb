"""The template that names the route of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from astra_core.asgi import ROUTE, route_of

if TYPE_CHECKING:
    from starlette.requests import Request


async def _answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse("")


async def templates(*requests: tuple[str, str]) -> list[str | None]:
    """What a Starlette application leaves in the scope of each request."""
    app = Starlette(routes=[Route("/items/{id:int}", _answer, methods=["GET"]), Route("/items", _answer)])
    seen: list[str | None] = []

    async def note(scope: Any, receive: Any, send: Any) -> None:
        assert route_of(scope) is None
        await app(scope, receive, send)
        seen.append(route_of(scope))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(note), base_url="http://test") as client:
        for method, path in requests:
            await client.request(method, path)
    return seen


async def test_a_starlette_route_is_named_by_its_path_without_converters() -> None:
    """Every value of a parameter comes under one name."""
    assert await templates(("GET", "/items/7"), ("GET", "/items/8"), ("GET", "/items")) == [
        "/items/{id}",
        "/items/{id}",
        "/items",
    ]


async def test_a_path_without_a_route_has_no_name() -> None:
    """A stranger's path never becomes a name."""
    assert await templates(("GET", "/items/x"), ("GET", "/wp-login.php")) == [None, None]


async def test_a_method_that_the_route_refuses_still_names_the_route() -> None:
    """A 405 belongs to the route that answered it."""
    assert await templates(("POST", "/items/7")) == ["/items/{id}"]


def test_what_an_application_says_itself_wins() -> None:
    """An application without a router names its route in the scope."""
    assert route_of({ROUTE: "/{code}", "route": Route("/x", _answer)}) == "/{code}"
