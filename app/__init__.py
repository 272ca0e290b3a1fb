"""The URL shortener: `asgi` is its ASGI application, for `hypercorn app:asgi` and `uvicorn app:asgi`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.asgi import Layer

if TYPE_CHECKING:
    from astra_core.asgi import Receive, Scope, Send

__all__ = ["asgi"]


class _Asgi(Layer):
    """Builds nothing at import: the application is composed when the server begins its lifespan.

    A layer without hooks, so that it fuses with the composed stack and costs a request nothing.
    """

    def __init__(self) -> None:
        super().__init__(self._begin)

    async def _begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            raise RuntimeError("the server did not run the lifespan; start it with lifespan on")
        try:
            from app.main import start  # not at the top: importing this package must stay free of work
        except Exception as error:  # raised, it would be taken for an application without a lifespan, and served
            await receive()
            message = f"astra: cannot start: {type(error).__name__}: {error}"
            await send({"type": "lifespan.startup.failed", "message": message})
            return
        application = await start(receive, send)
        if application is not None:
            super().__init__(application.edge)  # from now on this layer stands round the composed stack
            await application.lifespan(receive, send)

    def __repr__(self) -> str:
        return "<app.asgi>"


asgi = _Asgi()
