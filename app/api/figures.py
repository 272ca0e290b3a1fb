"""`GET /metrics`: the figures of the whole service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from astra_core.asgi import Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from app.api.admin import AdminGate

__all__ = ["MetricsApi", "Renderer"]


class Renderer(Protocol):
    """Writes all figures in the format that `accept` asks for: media type and body."""

    async def __call__(self, accept: str, /) -> tuple[str, bytes]:
        """Write them."""
        ...


class MetricsApi:
    """Answers scrapes; a token may stand before it."""

    def __init__(self, render: Renderer, *, gate: AdminGate) -> None:
        self._render = render
        self._gate = gate

    async def scrape(self, request: Request) -> Response:
        """`GET /metrics`."""
        self._gate.check(request)
        media, body = await self._render(request.headers.get("accept", ""))
        return Response(200, body, ((b"content-type", media.encode()), (b"cache-control", b"no-store")))
