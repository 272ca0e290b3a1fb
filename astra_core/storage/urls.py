"""From a store's URL to its adapter: the one place that knows which engine a scheme names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from astra_core.errors import StorageError
from astra_core.storage.changes import ChangesFeed
from astra_core.storage.history import History
from astra_core.storage.memory import MemoryStore
from astra_core.storage.sqlite import SqliteStore
from astra_core.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.clock import Clock
    from astra_core.events import Listeners
    from astra_core.sqlite import Limits, Pool
    from astra_core.storage.records import Collection

__all__ = ["StoreEngine", "limit_store", "store_from_url"]


class StoreEngine(Store, ChangesFeed, History, Protocol):
    """All ports of one engine, and its life: nothing is touched before `open`."""

    async def open(self) -> None:
        """Connect, and make or migrate the schema. Raises `StorageError` in one clear sentence."""
        ...

    async def close(self) -> None:
        """Finish what was handed over, and disconnect."""
        ...


def store_from_url(
    url: str,
    *,
    collections: Sequence[Collection],
    writer: Pool,
    readers: Pool,
    limits: Limits,
    clock: Clock,
    listeners: Listeners | None = None,
) -> StoreEngine:
    """Return the store that `url` names: `sqlite:PATH` or `memory:`. Pools and limits are for engines that block.

    `listeners` hear what the engine itself tells, such as `GroupCommitted`; its calls are told by `observed`.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        return MemoryStore(collections=collections)
    if scheme == "sqlite":
        return SqliteStore(
            rest,
            collections=collections,
            writer=writer,
            readers=readers,
            limits=limits,
            clock=clock,
            listeners=listeners,
        )
    raise StorageError(f"no engine for a store URL that begins with {scheme}:")


def limit_store(engine: StoreEngine, limits: Limits) -> None:
    """Give `engine`, as `store_from_url` made it, other bounds while it runs; one that has none of its own stays."""
    if isinstance(engine, SqliteStore):
        engine.limits = limits
