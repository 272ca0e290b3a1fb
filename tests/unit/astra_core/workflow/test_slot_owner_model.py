"""Owners of slots under any course of things: never two for a slot, and in the end always one."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from astra_core.errors import SlotMoved
from astra_core.workflow.slots import SLOTS
from tests.unit.astra_core.workflow.owners import KEYS, TTL, Nodes

if TYPE_CHECKING:
    from collections.abc import Coroutine

FULL = os.environ.get("ASTRA_TEST_FULL") == "1"
NAMES = st.sampled_from("abcd")
LOOKED_AT = KEYS[:24]


class OwnersModel(RuleBasedStateMachine):
    """Owners start, stop, die, and lose sight of each other or of the store, with work in their slots or without."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.nodes: Nodes
        self.busy: list[ExitStack] = []

    def call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Await."""
        self.runner.run(coroutine)

    @initialize()
    def begin(self) -> None:
        """Two owners, who have just begun."""

        async def begin() -> None:
            self.nodes = Nodes(poll=0.4)
            await self.stack.enter_async_context(self.nodes.members)
            await self.stack.enter_async_context(self.nodes.store)
            await self.nodes.start("a", "b")

        self.call(begin())

    @rule(name=NAMES)
    def start(self, name: str) -> None:
        """One more."""

        async def start() -> None:
            self.nodes.begin(name)
            await self.nodes.clock.run_for(0.0)

        if name not in self.nodes.owners:
            self.call(start())

    @rule(name=NAMES)
    def stop(self, name: str) -> None:
        """One ends in good order, if it can reach the others."""
        if name in self.nodes.owners and self.nodes.wires[name].whole.is_set():
            self.call(self.nodes.stop(name))

    @rule(name=NAMES)
    def kill(self, name: str) -> None:
        """One dies, the store being as it was afterwards."""
        if name in self.nodes.owners:
            away = self.nodes.store.away
            self.call(self.nodes.kill(name))
            self.nodes.store.away = away

    @rule(name=NAMES, whole=st.booleans())
    def wire(self, name: str, whole: bool) -> None:
        """One loses sight of the members, or sees them again."""
        if name in self.nodes.owners:
            wire = self.nodes.wires[name].whole
            if whole:
                wire.set()
            else:
                wire.clear()

    @rule(away=st.booleans())
    def store(self, away: bool) -> None:
        """The store is away, or there again."""
        self.nodes.store.away = away

    @rule(name=NAMES)
    def doubt(self, name: str) -> None:
        """The next commit of one is not answered."""
        if name in self.nodes.owners:
            self.nodes.doors[name].doubt = True

    @rule(name=NAMES, seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def visit(self, name: str, seconds: float) -> None:
        """One comes, and soon goes again."""

        async def visit() -> None:
            await self.nodes.clock.run_for(seconds)
            await self.nodes.stop(name)

        if name not in self.nodes.owners:
            self.start(name)
            self.call(visit())

    @rule(keys=st.lists(st.sampled_from(LOOKED_AT), min_size=1, max_size=6))
    def work(self, keys: list[str]) -> None:
        """Work begins in slots, at whoever takes it."""
        for key in keys:
            for owner in self.nodes.owners.values():
                inside = ExitStack()
                try:
                    inside.enter_context(owner.slot(key))
                except SlotMoved:
                    continue
                self.busy.append(inside)

    @rule()
    def end_work(self) -> None:
        """The work that began first ends."""
        if self.busy:
            self.busy.pop(0).close()

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 3.0, 6.0, TTL]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.call(self.nodes.clock.run_for(seconds))

    @rule(seconds=st.sampled_from([1.0, TTL, 2 * TTL]))
    def stand_still(self, seconds: float) -> None:
        """All of them are stopped for a while."""
        self.nodes.clock.advance(seconds)
        self.call(self.nodes.clock.run_for(0.0))

    @invariant()
    def one_owner(self) -> None:
        """No two take work for the same key."""
        if hasattr(self, "nodes"):
            for key in LOOKED_AT:
                assert len(self.nodes.of(key)) <= 1

    def teardown(self) -> None:
        """Once all is well again, every slot has its owner, and the store lets it in."""
        if hasattr(self, "nodes"):
            self.call(self.end())
        self.runner.close()

    async def end(self) -> None:
        """Mend everything, wait, look, stop."""
        for inside in self.busy:
            inside.close()
        self.nodes.store.away = False
        for name in self.nodes.owners:
            self.nodes.wires[name].whole.set()
        await self.nodes.clock.run_for(3 * TTL)
        owners = self.nodes.owners.values()
        assert sum(owner.owned for owner in owners) == (SLOTS if owners else 0)
        assert all(owner.settled for owner in owners)
        for key in LOOKED_AT:
            for name in self.nodes.of(key):
                with self.nodes.owners[name].slot(key) as fence:
                    await self.nodes.store.commit([fence.require])
        for name in list(self.nodes.owners):
            await self.nodes.stop(name)
        await self.stack.aclose()


TestOwners = OwnersModel.TestCase
TestOwners.settings = settings(
    max_examples=150 if FULL else 25,
    stateful_step_count=40 if FULL else 20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
