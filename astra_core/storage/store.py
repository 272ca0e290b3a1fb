"""The port of the record store. Its heart is one call, `commit`: all writes happen or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astra_core.storage.records import Page, Query, Record
    from astra_core.storage.writes import Write

__all__ = ["Store"]


class Store(Protocol):
    """Versioned records, counters and positions under one atomic, durable commit.

    Every call may raise `StoreUnavailable`; a call that raised it wrote nothing. Every call has a deadline of its own.
    Cancelling a caller does not cancel a commit that was handed over: it happens as a whole, or not at all.
    """

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Apply `writes` in order, atomically and durably; returns one result a write (see each write's class).

        A later write of the commit sees what an earlier one did. Raises `CommitConflict` when a write is refused.
        """
        ...

    async def get(self, collection: str, key: str) -> Record | None:
        """Return the record, or None."""
        ...

    async def find(self, query: Query) -> Page:
        """Return one page of an index."""
        ...

    async def counts(self, counters: str, keys: Sequence[str]) -> Mapping[str, int]:
        """Return the balance of each of `keys`, in the order given; 0 for one that was never written."""
        ...

    async def positions(self) -> Mapping[str, int]:
        """Return every stored position by source."""
        ...
