"""Answers that are never held whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from astra_core.asgi import Header, Receive, Scope, Send

__all__ = ["Stream"]


class Stream:
    """An ASGI application that answers 200 with `head` and whatever `chunks` yields; `headers` tell the length."""

    def __init__(self, head: bytes, chunks: AsyncIterator[bytes], headers: Sequence[Header]) -> None:
        self._head = head
        self._chunks = chunks
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await send({"type": "http.response.start", "status": 200, "headers": list(self._headers)})
        if scope["method"] != "HEAD":
            if self._head:
                await send({"type": "http.response.body", "body": self._head, "more_body": True})
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def __repr__(self) -> str:
        return f"Stream({self._headers!r})"
