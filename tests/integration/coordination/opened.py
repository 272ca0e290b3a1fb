"""A store and a coordination in files that several processes share."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from astra_core.coordination import SqliteCoordination
from astra_core.keyed import BlockingPool
from astra_core.storage import Collection, SqliteStore
from astra_core.workflow import FENCES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["opened"]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[SqliteStore, SqliteCoordination]]:
    """Open both in `folder`, each with pools of its own."""
    pools = [BlockingPool(name, threads=threads, queue=256) for name in ("store", "leases") for threads in (1, 2)]
    collections = (FENCES, Collection(name="seen"))
    store = SqliteStore(folder / "store.db", collections=collections, writer=pools[0], readers=pools[1])
    coordination = SqliteCoordination(folder / "coordination.db", writer=pools[2], readers=pools[3])
    try:
        async with store, coordination:
            yield store, coordination
    finally:
        for pool in pools:
            await pool.close()
