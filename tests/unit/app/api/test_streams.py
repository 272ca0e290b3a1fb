"""Answers that are never held whole: sent piece by piece, for as long as somebody is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from app.api.streams import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from astra_core.asgi import Message

PIECES = 50


class Client:
    """Leaves when it has so many pieces, or never; the body of its request comes first."""

    def __init__(self, leaves_after: int | None = None) -> None:
        self.pieces: list[bytes] = []
        self.ended = False
        self._leaves_after = leaves_after
        self._gone = asyncio.Event()
        self._asked = False

    async def receive(self) -> Message:
        """The client's side."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """The server's side, which drops what nobody gets."""
        if body := message.get("body"):
            self.pieces.append(body)
        if len(self.pieces) == self._leaves_after:
            self._gone.set()
        if message["type"] == "http.response.body":
            self.ended = not message.get("more_body", False)


async def answer(client: Client, method: str = "GET") -> int:
    """Answer, and return how many pieces were asked for."""
    asked = 0

    async def pieces() -> AsyncGenerator[bytes, None]:
        nonlocal asked
        for _ in range(PIECES):
            asked += 1
            await asyncio.sleep(0)
            yield b"x"

    await Stream(b"head", pieces(), ())({"type": "http", "method": method}, client.receive, client.send)
    assert client.ended
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1
    return asked


@pytest.mark.parametrize("after", [1, 10])
async def test_nothing_is_asked_for_once_the_client_has_gone(after: int) -> None:
    """Neither from its first piece on nor later."""
    assert await answer(Client(leaves_after=after)) <= after + 2


async def test_who_stays_gets_all() -> None:
    """Head and pieces, in order; for HEAD none is asked for."""
    client = Client()
    assert await answer(client) == PIECES
    assert client.pieces == [b"head", *[b"x"] * PIECES]
    assert await answer(Client(), "HEAD") == 0
