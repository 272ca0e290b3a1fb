"""Sends requests at a set rate, whatever the answers take (open loop), over a bounded number of connections."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from loadtests.connection import Connection
from loadtests.servers import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from loadtests.servers import Server

__all__ = ["Creations", "Pace", "creating"]

_CONNECTIONS = 4
"""For each server; at 2 ms an answer they carry 2,000 requests a second."""


class Pace:
    """Due times `1 / rate` seconds apart. A sender that falls behind sends at once until it has caught up."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._next = time.monotonic()

    async def turn(self) -> None:
        """Wait for the next due time; each is given out once, so many senders can share a pace."""
        due = self._next
        self._next = due + self._interval
        wait = due - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)


@dataclass(slots=True)
class Creations:
    """Links made beside a measurement."""

    answered: int = 0
    refused: int = 0
    began: float = 0.0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Links a second, as achieved."""
        return self.answered / self.seconds if self.seconds else 0.0


@asynccontextmanager
async def creating(servers: Sequence[Server], *, rate: float) -> AsyncIterator[Creations]:
    """Create links of their own, in equal parts through each server, for as long as the context lasts; 0: none."""
    made = Creations(began=time.monotonic())
    if rate <= 0:
        yield made
        return
    pace, numbers = Pace(rate), count()
    work = (_send(server, pace, numbers, made) for server in servers for _ in range(_CONNECTIONS))
    senders = [asyncio.create_task(each) for each in work]
    try:
        yield made
    finally:
        made.seconds = time.monotonic() - made.began
        for sender in senders:
            sender.cancel()
        ended = await asyncio.gather(*senders, return_exceptions=True)
        made.refused += sum(isinstance(each, Exception) for each in ended)


async def _send(server: Server, pace: Pace, numbers: Iterator[int], made: Creations) -> None:
    async with Connection(HOST, server.port) as connection:
        while True:
            await pace.turn()
            url = f"https://example.com/beside/{next(numbers)}"
            answer = await connection.request("POST", "/v1/links", {"url": url})
            if answer.status == 201:
                made.answered += 1
            else:
                made.refused += 1
