"""The URL shortener: `asgi` is its ASGI application, for `hypercorn app:asgi` and `uvicorn app:asgi`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["asgi"]


class _Asgi:
    """Builds nothing at import: the application is composed when the server begins its lifespan."""

    __slots__ = ("_serve",)

    def __init__(self) -> None:
        self._serve: ASGIApp = self._begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)

    async def _begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            raise RuntimeError("the server did not run the lifespan; start it with lifespan on")
        from app.main import start

        application = await start(receive, send)
        if application is not None:
            self._serve = application.edge
            await application.lifespan(receive, send)


asgi = _Asgi()
