"""Every engine of the messaging ports, behind one fixture."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from astra_core.clock import SystemClock
from astra_core.events import Listeners, MessagesTrimmed
from astra_core.keyed import BlockingPool
from astra_core.messaging import (
    MemoryMessaging,
    Retain,
    SqliteMessaging,
    guarded,
    messaging_is_failing,
    messaging_said_nothing,
    observed,
)
from astra_core.resilience import (
    BreakerParameters,
    CircuitBreaker,
    Deadlines,
    Limiter,
    Policy,
    RetryBudget,
    RetryParameters,
    RetryPolicy,
    Sweep,
    own_deadline_expired,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from astra_core.messaging import Consumer, MessagingEngine, Received

KINDS = ("memory", "sqlite", "guarded memory", "guarded sqlite", "observed memory", "observed sqlite")


class Opener(Protocol):
    """Opens an engine of the kind under test, empty or as it was left in the test's folder."""

    def __call__(self, *listeners: Any, retain: Retain = ...) -> AbstractAsyncContextManager[MessagingEngine]:
        """Open it with these bounds and listeners."""
        ...


@asynccontextmanager
async def sqlite_engine(path: Path, **options: Any) -> AsyncIterator[SqliteMessaging]:
    """Open the engine over a file, with pools that are closed behind it."""
    writer, readers = BlockingPool("writer", threads=1, queue=4), BlockingPool("readers", threads=2, queue=64)
    try:
        async with SqliteMessaging(path, writer=writer, readers=readers, **options) as engine:
            yield engine
    finally:
        await writer.close()
        await readers.close()


@asynccontextmanager
async def open_engine(kind: str, folder: Path, listeners: Listeners, retain: Retain) -> AsyncIterator[MessagingEngine]:
    """Open an engine of the given kind."""
    if kind.startswith("guarded "):
        async with open_engine(kind.removeprefix("guarded "), folder, listeners, retain) as unguarded:
            policy = every_policy()
            yield guarded(unguarded, publishing=policy, consuming=policy)
        return
    if kind.startswith("observed "):
        async with open_engine(kind.removeprefix("observed "), folder, listeners, retain) as unobserved:
            yield observed(unobserved, name=kind, listener=Listeners(), clock=SystemClock())
        return
    if kind == "sqlite":
        async with sqlite_engine(folder / "sub" / "messages.db", listeners=listeners, retain=retain) as sqlite:
            yield sqlite
        return
    async with MemoryMessaging(retain=retain, listeners=listeners) as memory:
        yield memory


def every_policy() -> Policy:
    """A policy with all its parts."""
    sweep = Sweep()
    return Policy(
        name="messaging",
        deadline=Deadlines("messaging", sweep=sweep),
        retry=RetryPolicy(
            "messaging",
            sweep=sweep,
            parameters=RetryParameters(max_retry_after=0.0),
            budget=RetryBudget(),
            retry_on=messaging_is_failing,
        ),
        breaker=CircuitBreaker(
            name="messaging",
            parameters=BreakerParameters(minimum_calls=100),
            is_failure=messaging_is_failing,
            ignore=messaging_said_nothing,
            cancellation_is_failure=own_deadline_expired,
        ),
        limiter=Limiter("messaging", sweep=sweep),
    )


@pytest.fixture(params=KINDS)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """What opens an engine, for tests that need several or bounds of their own."""

    def opens(*listeners: Any, retain: Retain | None = None) -> AbstractAsyncContextManager[MessagingEngine]:
        return open_engine(request.param, tmp_path, Listeners(*listeners), retain or Retain(slack=0))

    return opens


@pytest.fixture
async def engine(opener: Opener) -> AsyncIterator[MessagingEngine]:
    """An open engine without messages, which trims at once."""
    async with opener() as opened:
        yield opened


@pytest.fixture
def trims() -> list[MessagesTrimmed]:
    """A listener's notes."""
    return []


async def drain(consumer: Consumer, *, limit: int = 100) -> list[Received]:
    """Receive until there is nothing more at once."""
    received: list[Received] = []
    while batch := await consumer.receive(limit=limit):
        received += batch
    return received


def datas(messages: Sequence[Received]) -> list[bytes]:
    """What the messages hold."""
    return [message.data for message in messages]
