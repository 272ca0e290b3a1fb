"""Work under a lease: one at a time, cancelled before another can begin, whatever fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from random import Random
from typing import TYPE_CHECKING

import pytest

from astra_core.coordination import Leadership, Lease, MemoryCoordination, Tenure
from astra_core.errors import CoordinationUnavailable, LeaseLost
from astra_core.events import LeaseEnded, LeaseTaken, WorkFailed
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TTL = 9.0


class Fragile(MemoryCoordination):
    """A coordination that can be away, or hang."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.away: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    async def _meet(self) -> None:
        await self.answers.wait()
        if self.away is not None:
            raise self.away

    async def acquire(self, name: str, *, ttl: float, holder: str = "") -> Lease | None:
        """Take, unless at fault."""
        lease = await super().acquire(name, ttl=ttl, holder=holder)
        await self._meet()
        return lease

    async def renew(self, lease: Lease) -> Lease:
        """Renew, unless at fault."""
        await self._meet()
        return await super().renew(lease)

    async def release(self, lease: Lease) -> None:
        """Release, unless at fault."""
        await self._meet()
        await super().release(lease)


class Nodes:
    """Several processes that want the same work done, as tasks; notes who works."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.leases = Fragile(self.clock)
        self.working: list[str] = []
        self.begun: list[str] = []
        self.events: list[object] = []
        self.done = asyncio.Event()
        self.fault: Exception | None = None
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.leaders: dict[str, Leadership] = {}

    def start(self, name: str) -> Leadership:
        """Let a node compete."""
        leader = Leadership(
            self.leases,
            "sweeper",
            ttl=TTL,
            holder=name,
            clock=self.clock,
            random=Random(1),
            listeners=self.events.append,
        )
        self.leaders[name] = leader

        async def work(tenure: Tenure) -> None:
            tenure.check()
            assert self.working == []
            self.working.append(name)
            self.begun.append(name)
            try:
                if self.fault is not None:
                    raise self.fault
                await self.done.wait()
            finally:
                self.working.remove(name)

        self.tasks[name] = asyncio.create_task(leader.run(work))
        return leader

    async def stop(self, name: str) -> None:
        """Cancel a node."""
        self.tasks[name].cancel()
        await asyncio.wait((self.tasks[name],))


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    """No node yet."""
    made = Nodes()
    async with made.leases:
        yield made
        for name in made.tasks:
            await made.stop(name)


async def test_one_of_two_works_and_keeps_the_lease(nodes: Nodes) -> None:
    """Over many times its ttl the lease stays with the one that has it, under one epoch."""
    first, second = nodes.start("a"), nodes.start("b")
    await nodes.clock.run_for(20 * TTL)
    assert (nodes.working, nodes.begun) == (["a"], ["a"])
    assert (first.held, first.epoch, second.held, second.epoch) == (True, 1, False, 0)
    assert nodes.events == [LeaseTaken("sweeper", 1)]


async def test_who_is_stopped_hands_the_lease_on_at_once(nodes: Nodes) -> None:
    """Its work is cancelled and the lease released, so another works at its next look, not after the ttl."""
    nodes.start("a")
    nodes.start("b")
    await nodes.clock.run_for(1.0)
    await nodes.stop("a")
    assert nodes.working == []
    await nodes.clock.run_for(TTL / 3)
    assert nodes.working == ["b"]
    assert nodes.events == [LeaseTaken("sweeper", 1), LeaseEnded("sweeper", 1, "released"), LeaseTaken("sweeper", 2)]


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_work_is_cancelled_before_another_can_have_the_lease(nodes: Nodes, how: str) -> None:
    """While renewals fail or hang the work goes on for most of the ttl, and is over when anybody can take it."""
    leader = nodes.start("a")
    await nodes.clock.run_for(0.0)
    took = nodes.clock.monotonic()
    if how == "hangs":
        nodes.leases.answers.clear()
    nodes.leases.away = CoordinationUnavailable("it is away")
    await nodes.clock.run_for(0.85 * TTL)
    assert nodes.working == ["a"]
    await nodes.clock.run_for(0.06 * TTL)
    assert (nodes.working, leader.held) == ([], False)
    assert nodes.clock.monotonic() - took < TTL
    assert LeaseEnded("sweeper", 1, "lost") in nodes.events
    nodes.leases.away = None
    nodes.leases.answers.set()
    await nodes.clock.run_for(2 * TTL)
    assert nodes.working == ["a"]


@pytest.mark.parametrize("looks", [False, True], ids=["cancelled", "looks for itself"])
async def test_work_that_ends_in_good_order_with_its_lease_is_run_again(nodes: Nodes, looks: bool) -> None:
    """Only work that returned while the lease was held is done; a loss ends a term, not the competition."""
    terms: list[int] = []

    async def work(tenure: Tenure) -> None:
        terms.append(tenure.epoch)
        with contextlib.suppress(asyncio.CancelledError):
            while not looks or tenure.held:
                await nodes.clock.sleep(0.05)

    leader = Leadership(nodes.leases, "sweeper", ttl=TTL, clock=nodes.clock, random=Random(1))
    nodes.tasks["a"] = asyncio.create_task(leader.run(work))
    await nodes.clock.run_for(1.0)
    nodes.leases.away = CoordinationUnavailable("it is away")
    await nodes.clock.run_for(TTL)
    nodes.leases.away = None
    await nodes.clock.run_for(2 * TTL)
    assert len(terms) == 2
    assert leader.held


async def test_a_moment_without_the_store_does_no_harm(nodes: Nodes) -> None:
    """Renewals that fail are tried again soon, and the lease stays."""
    nodes.start("a")
    await nodes.clock.run_for(1.0)
    for _ in range(10):
        nodes.leases.away = CoordinationUnavailable("it is away")
        await nodes.clock.run_for(0.5 * TTL)
        nodes.leases.away = None
        await nodes.clock.run_for(0.5 * TTL)
    assert nodes.begun == ["a"]


async def test_an_error_that_nobody_expects_ends_no_competition(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    """Who cannot ask for the lease asks again, and who cannot give it back waits for it anew; each is logged whole."""
    nodes.leases.away = KeyError("a bug")
    nodes.start("a")
    await nodes.clock.run_for(TTL)
    assert nodes.begun == []
    nodes.leases.away = None
    await nodes.clock.run_for(2 * TTL)
    nodes.leases.away = KeyError("a bug")
    await nodes.clock.run_for(2 * TTL)
    nodes.leases.away = None
    await nodes.clock.run_for(2 * TTL)
    assert nodes.begun == ["a", "a"]
    assert {record.getMessage() for record in caplog.records if record.exc_info} == {
        "lease sweeper cannot be asked for",
        "the lease sweeper could not be renewed",
        "lease sweeper could not be released and ends by itself",
    }


async def test_a_process_that_stood_still_stops_its_work(nodes: Nodes) -> None:
    """When it goes on after its lease was over, `held` is False at once, and the work is cancelled."""
    leader = nodes.start("a")
    await nodes.clock.run_for(1.0)
    tenure = leader.tenure
    assert tenure is not None
    nodes.clock.advance(10 * TTL)  # at once: as if nothing of this process had run meanwhile
    assert not leader.held
    with pytest.raises(LeaseLost):
        tenure.check()
    await nodes.clock.run_for(0.0)
    assert nodes.working == []


async def test_work_that_is_done_releases_the_lease(nodes: Nodes) -> None:
    """`run` returns when the work does, and others can have the lease."""
    nodes.start("a")
    await nodes.clock.run_for(1.0)
    nodes.done.set()
    await nodes.tasks["a"]
    assert await nodes.leases.acquire("sweeper", ttl=TTL) is not None


async def test_work_that_fails_is_logged_and_run_again(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    """The lease is free for others in between."""
    nodes.fault = ZeroDivisionError("a bug")
    with caplog.at_level(logging.ERROR, "astra.coordination"):
        nodes.start("a")
        await nodes.clock.run_for(0.0)
    assert "a bug" in caplog.text
    assert WorkFailed("sweeper", "ZeroDivisionError") in nodes.events
    assert await nodes.leases.standing("sweeper") is None
    nodes.fault = None
    await nodes.clock.run_for(TTL / 3)
    assert nodes.working == ["a"]


async def test_who_is_cancelled_while_asking_gives_the_lease_back(nodes: Nodes) -> None:
    """A lease that arrives for somebody who no longer wants it is free again."""
    nodes.leases.answers.clear()
    nodes.start("a")
    await nodes.clock.run_for(1.0)
    assert await nodes.leases.standing("sweeper") is not None
    stopping = asyncio.create_task(nodes.stop("a"))
    await nodes.clock.run_for(0.0)
    assert not stopping.done()
    nodes.leases.answers.set()
    await stopping
    assert await nodes.leases.acquire("sweeper", ttl=TTL) is not None
