"""Every adapter of the coordination ports, behind one fixture."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import pytest

from astra_core.coordination import MemoryCoordination, SqliteCoordination
from astra_core.keyed import BlockingPool
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

AnyCoordination: TypeAlias = "MemoryCoordination | SqliteCoordination"

BOOT = "first boot"


class Bench:
    """A coordination of one kind, and the clock that it and its users share."""

    def __init__(self, coordination: AnyCoordination, clock: FakeClock) -> None:
        self.at = coordination
        self.clock = clock


@asynccontextmanager
async def open_coordination(
    kind: str, folder: Path, clock: FakeClock, *, boot: str = BOOT
) -> AsyncIterator[AnyCoordination]:
    """Open a coordination of the given kind, empty or as it was left in `folder`."""
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


@pytest.fixture(params=["memory", "sqlite"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """An open, empty coordination of each kind."""
    clock = FakeClock()
    async with open_coordination(request.param, tmp_path, clock) as coordination:
        yield Bench(coordination, clock)
