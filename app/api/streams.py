"""Answers that are never held whole."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from astra_core.asgi import Header, Receive, Scope, Send

__all__ = ["Stream"]


class Stream:
    """An ASGI application that answers 200 with `head` and whatever `chunks` yields; `headers` tell the length.

    Nothing more is asked of `chunks` once the client has gone: servers drop what is sent then, and cancel nobody.
    """

    def __init__(self, head: bytes, chunks: AsyncGenerator[bytes, None], headers: Sequence[Header]) -> None:
        self._head = head
        self._chunks = chunks
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await send({"type": "http.response.start", "status": 200, "headers": list(self._headers)})
        if scope["method"] != "HEAD":
            if self._head:
                await send({"type": "http.response.body", "body": self._head, "more_body": True})
            leaving = asyncio.create_task(_departure(receive))
            try:
                async with aclosing(self._chunks) as chunks:
                    async for chunk in chunks:
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                        if leaving.done():
                            break
            finally:
                leaving.cancel()
        await send({"type": "http.response.body", "body": b""})

    def __repr__(self) -> str:
        return f"Stream({self._headers!r})"


async def _departure(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
