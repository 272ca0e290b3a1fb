"""Owners of slots as tasks over one store and one list of members, each with a way of its own to both."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

from astra_core.coordination import MemoryCoordination
from astra_core.errors import CommitInDoubt, SlotMoved, StoreUnavailable
from astra_core.storage import Collection, MemoryStore
from astra_core.testing import FakeClock
from astra_core.workflow import FENCES
from astra_core.workflow.slots import SlotOwner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from astra_core.coordination import Lease, View
    from astra_core.storage import Page, Query, Write

__all__ = ["DRAIN", "KEYS", "TTL", "Nodes"]

TTL = 9.0
DRAIN = 4.0
KEYS = [f"key {number}" for number in range(300)]


class Fragile(MemoryStore):
    """A store that can be away."""

    away = False

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Commit, unless away."""
        if self.away:
            raise StoreUnavailable("it is away")
        return await super().commit(writes)


class Door(MemoryStore):
    """One owner's way to the store: `before` a call something may happen, and its next commit may be in doubt."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(collections=[])
        self.store = store
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}
        self.doubt = False

    async def find(self, query: Query) -> Page:
        """Find over there."""
        await self._pause("find")
        return await self.store.find(query)

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Commit over there; in doubt, it happened all the same."""
        await self._pause("commit")
        versions = await self.store.commit(writes)
        if self.doubt:
            self.doubt = False
            raise CommitInDoubt("no answer")
        return versions

    async def _pause(self, call: str) -> None:
        happens = self.before.pop(call, None)
        if happens is not None:
            await happens()


class Wire(MemoryCoordination):
    """One owner's way to the list of members. Cut, it carries nothing either way; without `answers`, none of `join`."""

    def __init__(self, members: MemoryCoordination) -> None:
        super().__init__()
        self.members = members
        self.whole = asyncio.Event()
        self.whole.set()
        self.answers = asyncio.Event()
        self.answers.set()

    async def join(self, name: str, *, ttl: float, data: str = "") -> Lease | None:
        """Join over there."""
        await self.whole.wait()
        lease = await self.members.join(name, ttl=ttl, data=data)
        await self.answers.wait()
        return lease

    async def beat(self, lease: Lease) -> Lease:
        """Beat over there."""
        await self.whole.wait()
        return await self.members.beat(lease)

    async def leave(self, lease: Lease) -> None:
        """Leave over there."""
        await self.whole.wait()
        await self.members.leave(lease)

    async def view(self) -> View:
        """Look over there."""
        await self.whole.wait()
        return await self.members.view()

    async def changed(self, after: int, *, wait: float) -> View:
        """Wait over there."""
        await self.whole.wait()
        return await self.members.changed(after, wait=wait)


class Nodes:
    """Owners as tasks, over one store and one list of members."""

    def __init__(self, *, poll: float = 0.05) -> None:
        self.clock = FakeClock()
        self.poll = poll
        self.members = MemoryCoordination(clock=self.clock, poll=poll)
        self.store = Fragile(collections=[FENCES, Collection(name="things")])
        self.owners: dict[str, SlotOwner] = {}
        self.wires: dict[str, Wire] = {}
        self.doors: dict[str, Door] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.events: list[object] = []

    async def start(self, *names: str) -> None:
        """Let owners join, and wait until the slots lie still."""
        for name in names:
            self.begin(name)
        await self.clock.run_for(1.0)

    def begin(self, name: str) -> None:
        """Let an owner begin."""
        self.wires[name], self.doors[name] = Wire(self.members), Door(self.store)
        self.owners[name] = SlotOwner(
            name,
            members=self.wires[name],
            store=self.doors[name],
            poll=self.poll,
            ttl=TTL,
            drain=DRAIN,
            data=f"address of {name}",
            clock=self.clock,
            random=Random(1),
            listeners=self.events.append,
        )
        self.tasks[name] = asyncio.create_task(self.owners[name].run())

    async def stop(self, name: str) -> None:
        """Cancel an owner; it has as much time as it needs."""
        self.tasks[name].cancel()
        while not self.tasks[name].done():
            await self.clock.run_for(0.1)
        del self.owners[name]

    async def kill(self, name: str) -> None:
        """Let nothing of this owner run any more, and nothing of it be given back."""
        self.wires[name].whole.clear()
        self.store.away = True
        for _ in range(2):
            self.tasks[name].cancel()
            await self.clock.run_for(0.0)
        self.store.away = False
        assert self.tasks[name].done()
        del self.owners[name]

    def of(self, key: str) -> list[str]:
        """Who says that the key's slot is its own."""
        found = []
        for name, owner in self.owners.items():
            try:
                with owner.slot(key):
                    found.append(name)
            except SlotMoved:
                continue
        return found
