"""What the service is measured against: a raw ASGI constant, and bare Starlette with nothing on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

    from astra_core.asgi import Receive, Scope, Send

__all__ = ["LOCATION", "PATH", "bare_echo", "bare_redirect", "nothing", "raw_redirect", "redirect"]

LOCATION = "https://example.com/a/page?with=a&query=of+some+length"
"""Where every redirect of a load test leads; its WHATWG `href` is itself."""
PATH = "/Ab3dE5g"
"""A path as long as one of ours."""

_START = {
    "type": "http.response.start",
    "status": 302,
    "headers": [(b"location", LOCATION.encode()), (b"content-length", b"0")],
}
_BODY = {"type": "http.response.body", "body": b""}


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing: in process, what driving a request costs by itself."""


async def raw_redirect(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every request with the same 302: the least that any ASGI application costs."""
    if scope["type"] != "http":
        await _lifespan(receive, send)
        return
    await send(_START)
    await send(_BODY)


async def _lifespan(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


async def redirect(request: Request) -> RedirectResponse:
    """Answer with the redirect, as an endpoint of Starlette does."""
    return RedirectResponse(LOCATION, status_code=302)


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse(await request.json(), status_code=201)


bare_redirect = Starlette(routes=[Route("/{code}", redirect)])
"""One route, one redirect, no middleware of its own, no look-up: the reference of the bars."""

bare_echo = Starlette(routes=[Route("/v1/links", _echo, methods=["POST"])])
"""Decodes a JSON body and encodes it again: the reference of creations."""
