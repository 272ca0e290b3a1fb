"""Runs the lifespan of an ASGI application in this process, as a server does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from astra_core.asgi import ASGIApp, Message

__all__ = ["LifespanError", "lifespan"]


class LifespanError(Exception):
    """The application refused to start or to stop; the text is its reason."""


class _Lifespan:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        await self._app(scope, self._events.get, self._answers.put)

    async def phase(self, name: str) -> None:
        await self._events.put({"type": f"lifespan.{name}"})
        answer = asyncio.create_task(self._answers.get())
        await asyncio.wait((answer, self._task), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            self._task.result()  # raises what the application raised
            raise LifespanError(f"the application left its lifespan before {name}")
        if answer.result()["type"] != f"lifespan.{name}.complete":
            raise LifespanError(answer.result().get("message") or f"{name} failed")

    async def end(self) -> None:
        await self._task


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start `app`, and stop it at the end; raises `LifespanError` when it refuses either."""
    running = _Lifespan(app)
    await running.phase("startup")
    try:
        yield
    finally:
        await running.phase("shutdown")
        await running.end()
