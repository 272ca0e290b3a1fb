"""A model of leases against every adapter: whatever happens in whatever order, never two holders, epochs only grow."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from astra_core.errors import LeaseLost
from astra_core.testing import FakeClock
from tests.contract.coordination.conftest import open_coordination

if TYPE_CHECKING:
    from astra_core.coordination import CoordinationEngine, Lease

FULL = os.environ.get("ASTRA_TEST_FULL") == "1"
NAMES = st.sampled_from(["relay", "sweeper"])
TTLS = st.sampled_from([1.0, 3.0, 10.0])
LAGS = st.sampled_from([0.0, 0.0, 0.5, 2.0])
"""Seconds that pass between the holder's question and the store's answer to it."""


class LaggingClock(FakeClock):
    """A clock of which `lag` seconds pass right after it was next read."""

    lag = 0.0

    def monotonic(self) -> float:
        """Return the time, and let the lag pass."""
        now = super().monotonic()
        if self.lag:
            lag, self.lag = self.lag, 0.0
            self.advance(lag)
        return now


class Standing:
    """What the model knows of one name: its last epoch, and until when the store keeps it for its holder."""

    def __init__(self) -> None:
        self.epoch = 0
        self.until = float("-inf")


class LeaseModel(RuleBasedStateMachine):
    """Some who acquire, renew, release and forget leases, and a clock that moves in between, also within a call."""

    kind: ClassVar[str]
    reads_twice: ClassVar[bool]
    """Whether the engine looks at the clock again when it comes to write."""
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = LaggingClock()
        self.stack = AsyncExitStack()
        self.boots = 0
        self.model: dict[str, Standing] = {}
        self.believed: list[Lease] = []
        self.engine: CoordinationEngine

    def call(self, coroutine: Any) -> Any:
        """Await."""
        return self.runner.run(coroutine)

    def open(self) -> None:
        """Open the engine, in the boot that is now."""
        opened = open_coordination(self.kind, Path(self.folder.name), self.clock, boot=f"boot {self.boots}")
        self.engine = self.call(self.stack.enter_async_context(opened))

    @initialize()
    def begin(self) -> None:
        """Open the engine."""
        self.open()

    @rule(target=leases, name=NAMES, ttl=TTLS, lag=LAGS)
    def acquire(self, name: str, ttl: float, lag: float) -> Any:
        """It is given exactly when it is nobody's, under the next epoch, for a ttl from the question on."""
        asked = self.clock.monotonic()
        self.clock.lag = lag
        lease = self.call(self.engine.acquire(name, ttl=ttl))
        at = asked + lag if self.reads_twice else asked
        standing = self.model.setdefault(name, Standing())
        assert (lease is not None) == (standing.until <= at)
        if lease is None:
            return multiple()
        assert (lease.epoch, lease.until) == (standing.epoch + 1, asked + ttl)
        assert not [other for other in self.believed if other.name == name and other.until > at]
        standing.epoch, standing.until = lease.epoch, at + ttl
        self.believed.append(lease)
        return lease

    @rule(target=leases, lease=consumes(leases), lag=LAGS)
    def renew(self, lease: Lease, lag: float) -> Any:
        """It goes well exactly while the store keeps the lease for this holder."""
        asked = self.clock.monotonic()
        self.clock.lag = lag
        at = asked + lag if self.reads_twice else asked
        standing = self.model[lease.name]
        kept = standing.epoch == lease.epoch and standing.until > at
        try:
            renewed: Lease = self.call(self.engine.renew(lease))
        except LeaseLost:
            assert not kept
            return lease
        assert kept
        assert (renewed.epoch, renewed.until) == (lease.epoch, asked + lease.ttl)
        standing.until = at + lease.ttl
        self.forget(lease)
        self.believed.append(renewed)
        return renewed

    @rule(lease=leases)
    def release(self, lease: Lease) -> None:
        """The name is free if it was still this holder's; nothing happens to who came after it."""
        self.call(self.engine.release(lease))
        self.forget(lease)
        standing = self.model[lease.name]
        if standing.epoch == lease.epoch:
            standing.until = float("-inf")

    @rule(lease=consumes(leases))
    def lose(self, lease: Lease) -> None:
        """A holder dies: the store keeps its lease until the end of the ttl."""
        self.forget(lease)

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 2.5, 10.0]))
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-86_400.0, 3_600.0]))
    def step(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.clock.step(seconds)

    @rule(name=NAMES)
    def look(self, name: str) -> None:
        """What people are told is what the model knows."""
        told = self.call(self.engine.standing(name))
        standing = self.model.get(name, Standing())
        assert (told.epoch if told else None) == (standing.epoch if standing.until > self.clock.monotonic() else None)

    @invariant()
    def one_holder(self) -> None:
        """Nobody but the last holder of a name believes in a lease on it."""
        now = self.clock.monotonic()
        for lease in self.believed:
            assert lease.until <= now or lease.epoch == self.model[lease.name].epoch

    def forget(self, lease: Lease) -> None:
        """Nobody believes in this lease."""
        self.believed = [other for other in self.believed if (other.name, other.epoch) != (lease.name, lease.epoch)]

    def teardown(self) -> None:
        """Close everything."""
        self.call(self.stack.aclose())
        self.runner.close()
        self.folder.cleanup()


class MemoryLeases(LeaseModel):
    """The model against the engine in memory."""

    kind = "memory"
    reads_twice = False


class SqliteLeases(LeaseModel):
    """The model against the file, whose processes and machine may be started anew."""

    kind = "sqlite"
    reads_twice = True

    @rule()
    def restart_process(self) -> None:
        """The file keeps what stands."""
        self.call(self.stack.aclose())
        self.open()

    @rule()
    def restart_machine(self) -> None:
        """Nobody survives, so every lease is over, and the epochs go on from where they were."""
        self.call(self.stack.aclose())
        self.boots += 1
        self.believed.clear()
        for standing in self.model.values():
            standing.until = float("-inf")
        self.open()


COUNTS = settings(
    max_examples=400 if FULL else 25,
    stateful_step_count=60 if FULL else 30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestMemoryLeases = MemoryLeases.TestCase
TestMemoryLeases.settings = COUNTS
TestSqliteLeases = SqliteLeases.TestCase
TestSqliteLeases.settings = COUNTS
