"""Every adapter of the coordination ports, behind one fixture."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from astra_core.coordination import (
    MemoryCoordination,
    SqliteCoordination,
    coordination_is_failing,
    coordination_said_nothing,
    guarded,
)
from astra_core.keyed import BlockingPool
from astra_core.resilience import (
    CircuitBreaker,
    Deadlines,
    Limiter,
    Policy,
    RetryParameters,
    RetryPolicy,
    Sweep,
    own_deadline_expired,
)
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from astra_core.coordination import CoordinationEngine

BOOT = "first boot"


class Bench:
    """A coordination of one kind, and the clock that it and its users share."""

    def __init__(self, coordination: CoordinationEngine, clock: FakeClock) -> None:
        self.at = coordination
        self.clock = clock


@asynccontextmanager
async def open_coordination(
    kind: str, folder: Path, clock: FakeClock, *, boot: str = BOOT
) -> AsyncIterator[CoordinationEngine]:
    """Open a coordination of the given kind, empty or as it was left in `folder`."""
    if kind.startswith("guarded "):
        async with open_coordination(kind.removeprefix("guarded "), folder, clock, boot=boot) as unguarded:
            yield guarded(unguarded, policy=every_policy())
        return
    if kind == "memory":
        async with MemoryCoordination(clock=clock) as memory:
            yield memory
        return
    writer, readers = BlockingPool("writer", threads=1, queue=4), BlockingPool("readers", threads=2, queue=64)
    try:
        async with SqliteCoordination(
            folder / "sub" / "coordination.db", writer=writer, readers=readers, clock=clock, boot=lambda: boot
        ) as sqlite:
            yield sqlite
    finally:
        await writer.close()
        await readers.close()


def every_policy() -> Policy:
    """A policy with all its parts."""
    sweep = Sweep()
    return Policy(
        name="coordination",
        deadline=Deadlines("coordination", sweep=sweep),
        retry=RetryPolicy(
            "coordination", sweep=sweep, parameters=RetryParameters(attempts=1), retry_on=coordination_is_failing
        ),
        breaker=CircuitBreaker(
            name="coordination",
            is_failure=coordination_is_failing,
            ignore=coordination_said_nothing,
            cancellation_is_failure=own_deadline_expired,
        ),
        limiter=Limiter("coordination", sweep=sweep),
    )


@pytest.fixture(params=["memory", "sqlite", "guarded memory", "guarded sqlite"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """An open, empty coordination of each kind."""
    clock = FakeClock()
    async with open_coordination(request.param, tmp_path, clock) as coordination:
        yield Bench(coordination, clock)
