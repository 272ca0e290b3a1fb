"""From requests to the templates of their routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute

from astra_core.middleware import RouteKeys
from tests.unit.astra_core.asgi.driver import call, http_scope
from tests.unit.astra_core.middleware.client import scope_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from astra_core.asgi import Receive, Scope, Send


async def page(request: Request) -> PlainTextResponse:
    """Answer with the template of the route that was taken."""
    return PlainTextResponse(request.scope["mounts"] + request.scope["route"].path)


async def talk(websocket: WebSocket) -> None:
    """Say nothing."""


async def files(scope: Scope, receive: Receive, send: Send) -> None:
    """An application without routes."""
    await PlainTextResponse("/static/*")(scope, receive, send)


class Noting:
    """Notes under which mounts a request came."""

    def __init__(self, app: Any, path: str = "") -> None:
        self.app = app
        self.path = path
        self.routes = getattr(app, "routes", [])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        scope["mounts"] = scope.get("mounts", "") + self.path
        await self.app(scope, receive, send)


def mount(path: str, *routes: Any) -> Mount:
    """Return a mount that notes its path."""
    return Mount(path, app=Noting(Router(routes), path))


ROUTES = [
    Route("/", page),
    Route("/users", page),
    Route("/users", page, methods=["POST"]),
    Route("/users/{id:int}", page),
    Route("/users/me", page),
    Route("/users/{id:int}/posts/{post}", page, methods=["PUT"]),
    Route("/things/special", page, methods=["GET"]),
    Route("/things/{name}", page, methods=["DELETE"]),
    Route("/{first}/new", page, methods=["GET"]),
    Route("/late/new", page, methods=["POST"]),
    WebSocketRoute("/talk", talk),
    WebSocketRoute("/live/{room}", talk),
    Mount("/static", app=files),
    mount("/api", Route("/", page), Route("/items/{item}", page), mount("/deep", Route("/down", page))),
    mount("/of/{tenant}", Route("/home", page)),
    Host("other.example", app=Router([Route("/hosted", page)])),
    Route("/after/{rest:path}", page),
]


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("GET", "/", "/"),
        ("POST", "/users", "/users"),
        ("DELETE", "/users", "/users"),
        ("GET", "/users/7", "/users/{id:int}"),
        ("GET", "/users/me", "/users/me"),
        ("GET", "/users/7/posts/x", "/users/{id:int}/posts/{post}"),
        ("GET", "/things/special", "/things/special"),
        ("DELETE", "/things/special", "/things/{name}"),
        ("GET", "/late/new", "/{first}/new"),
        ("POST", "/late/new", "/late/new"),
        ("GET", "/talk", None),
        ("GET", "/live/7", None),
        ("GET", "/static/a/b.css", "/static/*"),
        ("GET", "/api/", "/api/"),
        ("GET", "/api/items/7", "/api/items/{item}"),
        ("GET", "/api/deep/down", "/api/deep/down"),
        ("GET", "/api/none", None),
        ("GET", "/of/acme/home", "/of/{tenant}/home"),
        ("GET", "/hosted", None),
        ("GET", "/after/all/this", "/after/{rest:path}"),
        ("GET", "/none", None),
        ("GET", "", None),
    ],
)
def test_a_request_has_the_template_of_its_route(method: str, path: str, key: str | None) -> None:
    """Twice, since the first request builds the table; and below a root path."""
    keys = RouteKeys(ROUTES)
    scope = http_scope(path, method=method)
    assert (keys(scope), keys(scope)) == (key, key)
    assert RouteKeys(ROUTES)(scope_of(f"/root{path}", method=method, root_path="/root")) == key
    assert RouteKeys(ROUTES)(scope_of(f"/rooted{path}", method=method, root_path="/root")) is None
    assert repr(keys) == "RouteKeys(17 routes)"


SEGMENTS = st.sampled_from(
    ["", "users", "7", "me", "things", "special", "new", "late", "api", "items", "of", "x", "after"]
)


@given(st.lists(SEGMENTS, max_size=4), st.sampled_from(["GET", "POST", "PUT", "DELETE"]))
async def test_it_finds_what_starlette_finds(segments: list[str], method: str) -> None:
    """Whenever a route answers, the key is its template; a key is never one that does not exist."""
    path = "/" + "/".join(segments)
    app = Noting(Starlette(routes=ROUTES))
    key = RouteKeys(ROUTES)(http_scope(path, method=method))
    answer = await call(app, http_scope(path, method=method))
    if answer.status == 200:
        assert answer.body.decode() == key
    elif answer.status == 404:
        assert key is None


def test_routes_may_be_added_until_the_first_request() -> None:
    """As applications do that add their middleware first."""
    app = Starlette()
    keys = RouteKeys(app.routes)
    app.router.add_route("/later", page)
    app.router.add_route("/later/{id}", page)
    assert [keys(http_scope(path)) for path in ("/later", "/later/7")] == ["/later", "/later/{id}"]


def test_fastapi_routes_are_understood() -> None:
    """Its decorators, its routers with a prefix, its mounts and its own documents."""
    fastapi = pytest.importorskip("fastapi")
    app, router, sub = fastapi.FastAPI(), fastapi.APIRouter(prefix="/v1"), fastapi.FastAPI()
    keys = RouteKeys(app.routes)
    for target, path in ((app, "/items/{id}"), (router, "/orders/{order}"), (router, "/orders"), (sub, "/inside/{x}")):
        target.get(path)(page)
    app.include_router(router)
    app.mount("/sub", sub)
    expected = {
        "/items/7": "/items/{id}",
        "/v1/orders/7": "/v1/orders/{order}",
        "/v1/orders": "/v1/orders",
        "/sub/inside/7": "/sub/inside/{x}",
        "/openapi.json": "/openapi.json",
        "/none": None,
    }
    assert {path: keys(http_scope(path)) for path in expected} == expected
