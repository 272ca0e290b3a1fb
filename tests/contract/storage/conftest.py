"""Every adapter of the storage ports, behind one fixture."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import pytest

from astra_core.keyed import BlockingPool
from astra_core.storage import Collection, Index, MemoryStore, SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

AnyStore: TypeAlias = "MemoryStore | SqliteStore"

COLLECTIONS = (
    Collection(
        name="things",
        indexes=(
            Index(name="made", parts=1),
            Index(name="place", parts=2),
            Index(name="slug", unique=True),
            Index(name="tag", parts=2, multi=True),
            Index(name="alias", unique=True, multi=True),
        ),
    ),
    Collection(name="plain"),
)


@asynccontextmanager
async def open_store(kind: str, folder: Path) -> AsyncIterator[AnyStore]:
    """Open a store of the given kind, empty or as it was left in `folder`."""
    if kind == "memory":
        async with MemoryStore(collections=COLLECTIONS) as memory:
            yield memory
        return
    writer, readers = BlockingPool("writer", threads=1, queue=4), BlockingPool("readers", threads=2, queue=64)
    try:
        async with SqliteStore(
            folder / "sub" / "store.db", collections=COLLECTIONS, writer=writer, readers=readers
        ) as store:
            yield store
    finally:
        await writer.close()
        await readers.close()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnyStore]:
    """An open, empty store of each kind."""
    async with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def opener() -> object:
    """What opens a store by kind, for tests that need several."""
    return open_store
