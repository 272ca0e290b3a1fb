"""Every executor, behind one fixture."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from astra_core.keyed import BlockingPool, InlineExecutor, KeyedExecutor
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from astra_core.keyed import DeadLetter, Executor

ATTEMPTS = 3
"""Each executor tries so often, without a pause between."""


@dataclass
class Bench:
    """An executor, its clock, and the dead letters that it gave out."""

    executor: Executor
    clock: FakeClock
    letters: list[DeadLetter] = field(default_factory=list)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition()` holds; threads may have to act for that."""
        for _ in range(2_000):
            if condition():
                return
            await asyncio.sleep(0.001)
        raise AssertionError("it never came true")


class Gated:
    """Work that notes when it begins and ends, and ends when told."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun: list[object] = []
        self.ended: list[object] = []

    async def __call__(self, what: object) -> object:
        """Wait for `go`, then return `what`."""
        self.begun.append(what)
        await self.go.wait()
        self.ended.append(what)
        return what


@pytest.fixture
def gated() -> Gated:
    """Work that ends when told."""
    return Gated()


@pytest.fixture(params=["inline", "keyed", "pooled"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Each executor in turn."""
    clock, letters = FakeClock(), list["DeadLetter"]()
    pool = BlockingPool("contract", threads=4, queue=0) if request.param == "pooled" else None
    executor: Executor
    if request.param == "inline":
        executor = InlineExecutor(attempts=ATTEMPTS, dead_letters=letters.append, clock=clock)
    else:
        executor = KeyedExecutor(
            request.param, attempts=ATTEMPTS, backoff=lambda _: 0.0, dead_letters=letters.append, pool=pool, clock=clock
        )
    yield Bench(executor, clock, letters)
    if pool is not None:
        await pool.close()
