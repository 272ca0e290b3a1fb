"""Every adapter of the storage ports, behind one fixture."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import pytest

from astra_core.clock import SystemClock
from astra_core.events import Listeners
from astra_core.keyed import BlockingPool
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
from astra_core.storage import (
    Collection,
    Index,
    MemoryStore,
    SqliteStore,
    guarded,
    observed,
    store_is_failing,
    store_said_nothing,
    wrote_nothing,
)
from tests.integration.faults.remote_store import RemoteStore, StoreServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from astra_core.storage import StoreEngine

AnyStore: TypeAlias = "MemoryStore | SqliteStore | StoreEngine"

COLLECTIONS = (
    Collection(
        name="things",
        indexes=(
            Index(name="made", parts=1),
            Index(name="place", parts=2),
            Index(name="slug", unique=True),
            Index(name="tag", parts=2, multi=True),
            Index(name="alias", unique=True, multi=True),
            Index(name="mark", parts=2, multi=True, deferred=True),
        ),
    ),
    Collection(name="plain"),
)


@asynccontextmanager
async def open_store(kind: str, folder: Path) -> AsyncIterator[AnyStore]:
    """Open a store of the given kind, empty or as it was left in `folder`."""
    if kind.startswith("guarded "):
        async with open_store(kind.removeprefix("guarded "), folder) as unguarded:
            policy = every_policy()
            yield guarded(unguarded, reads=policy, writes=policy)
        return
    if kind.startswith("observed "):
        async with open_store(kind.removeprefix("observed "), folder) as unobserved:
            yield observed(unobserved, name=kind, listener=Listeners(), clock=SystemClock())
        return
    if kind == "remote":
        async with open_store("memory", folder) as served, StoreServer(served) as server:
            remote = RemoteStore("127.0.0.1", server.port, deadline=5.0)
            yield remote
            await remote.close()
        return
    if kind == "memory":
        async with MemoryStore(collections=COLLECTIONS) as memory:
            yield memory
        return
    writer, readers = BlockingPool("writer", threads=1, queue=4), BlockingPool("readers", threads=2, queue=64)
    try:
        async with SqliteStore(
            folder / "sub" / "store.db", collections=COLLECTIONS, writer=writer, readers=readers, settle_at=3
        ) as store:
            yield store
    finally:
        await writer.close()
        await readers.close()


def every_policy() -> Policy:
    """A policy with all its parts."""
    sweep = Sweep()
    return Policy(
        name="store",
        deadline=Deadlines("store", sweep=sweep),
        retry=RetryPolicy(
            "store",
            sweep=sweep,
            parameters=RetryParameters(max_retry_after=0.0),
            budget=RetryBudget(),
            retry_on=store_is_failing,
            is_unsent=wrote_nothing,
        ),
        breaker=CircuitBreaker(
            name="store",
            parameters=BreakerParameters(minimum_calls=100),
            is_failure=store_is_failing,
            ignore=store_said_nothing,
            cancellation_is_failure=own_deadline_expired,
        ),
        limiter=Limiter("store", sweep=sweep),
    )


@pytest.fixture(params=["memory", "sqlite", "guarded memory", "guarded sqlite", "observed memory", "remote"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnyStore]:
    """An open, empty store of each kind."""
    async with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def opener() -> object:
    """What opens a store by kind, for tests that need several."""
    return open_store
