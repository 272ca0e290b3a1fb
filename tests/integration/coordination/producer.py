"""Sixteen of these send numbered events of many keys to whoever owns the keys' slots, whatever becomes of those."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

from astra_core.coordination import View
from astra_core.workflow.slots import SlotMap

if TYPE_CHECKING:
    from random import Random

    from astra_core.coordination import Members

__all__ = ["Producer"]

_PATIENCE = 1.5
"""Seconds after which an answer is not waited for any more: its owner may be stopped."""


class Connection:
    """Requests to one node, many at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[list[Any]]] = {}
        self._ids = count()
        self._reading = asyncio.create_task(self._read(reader))

    @property
    def is_over(self) -> bool:
        """Whether the other side is gone."""
        return self._reading.done()

    async def call(self, *event: object) -> list[Any]:
        """Return the answer. Raises `ConnectionError`, `TimeoutError`."""
        if self.is_over:
            raise ConnectionResetError("the node is gone")
        number = next(self._ids)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps([number, *event]).encode() + b"\n")
        try:
            return await asyncio.wait_for(future, _PATIENCE)
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """Close it."""
        self._writer.close()
        self._reading.cancel()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                number, *answer = json.loads(line)
                if (future := self._waiting.get(number)) is not None and not future.done():
                    future.set_result(answer)
        self._writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the node is gone"))


class Producer:
    """Sends its events of a key one after the other, keys beside each other; what was not answered it sends again."""

    def __init__(self, number: int, members: Members, *, keys: list[str], chance: Random) -> None:
        self.number = number
        self.sent: Counter[str] = Counter()
        self.done = 0
        self.again = 0
        self.moved = 0
        self.lost = 0
        self._members = members
        self._keys = keys
        self._chance = chance
        self._view = View(-1, ())
        self._map = SlotMap(())
        self._connections: dict[str, Connection] = {}
        self._opened: list[Connection] = []

    async def run(self, events: int, *, beside: int) -> None:
        """Send so many events, of up to `beside` keys at once."""
        mine = self._chance.sample(self._keys, len(self._keys))
        left = iter(range(events))

        async def lane(keys: list[str]) -> None:
            for _ in left:
                await self._send(self._chance.choice(keys))

        await asyncio.gather(*(lane(mine[place::beside]) for place in range(beside)))
        for connection in self._opened:
            await connection.close()

    async def _send(self, key: str) -> None:
        """Send the key's next event until it was handled."""
        self.sent[key] += 1
        number = self.sent[key]
        hint = ""
        while True:
            try:
                owner = hint or self._map.owner_of(key) or ""
                said = await (await self._connected(owner)).call(key, self.number, number)
            except (OSError, TimeoutError):
                self.lost += 1
                said = ["lost"]
            if said[0] in {"done", "again"}:
                self.done += 1
                self.again += said[0] == "again"
                return
            self.moved += said[0] == "moved"
            hint = said[1] if said[0] == "moved" else ""
            await asyncio.sleep(0.02)
            await self._look()

    async def _look(self) -> None:
        view = await self._members.view()
        if view.revision != self._view.revision:
            self._view, self._map = view, SlotMap((member.name for member in view.members), known=self._map)

    async def _connected(self, name: str) -> Connection:
        connection = self._connections.get(name)
        if connection is None or connection.is_over:
            paths = [member.data for member in self._view.members if member.name == name]
            if not paths:
                raise ConnectionRefusedError(f"no member {name!r} is known")
            connection = self._connections[name] = Connection(*await asyncio.open_unix_connection(paths[0]))
            self._opened.append(connection)
        return connection
