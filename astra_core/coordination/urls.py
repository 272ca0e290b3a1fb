"""From a URL to what keeps leases and members: the one place that knows which engine a scheme names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from astra_core.coordination.leases import Leases
from astra_core.coordination.members import Members
from astra_core.coordination.memory import MemoryCoordination
from astra_core.coordination.sqlite import SqliteCoordination
from astra_core.errors import CoordinationError

if TYPE_CHECKING:
    from astra_core.clock import Clock
    from astra_core.events import Listeners
    from astra_core.sqlite import Limits, Pool

__all__ = ["CoordinationEngine", "coordination_from_url"]


class CoordinationEngine(Leases, Members, Protocol):
    """Both ports of one engine, and its life: nothing is touched before `open`."""

    async def open(self) -> None:
        """Connect, and make what is needed. Raises `CoordinationError` in one clear sentence."""
        ...

    async def close(self) -> None:
        """Finish what was handed over, and disconnect."""
        ...


def coordination_from_url(
    url: str, *, writer: Pool, readers: Pool, limits: Limits, clock: Clock, listeners: Listeners | None = None
) -> CoordinationEngine:
    """Return what `url` names: `sqlite:PATH`, for the processes of one machine, or `memory:`, for one process.

    Pools and limits are for engines that block. The file is one of its own, never that of a store.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        return MemoryCoordination(clock=clock)
    if scheme == "sqlite":
        return SqliteCoordination(rest, writer=writer, readers=readers, limits=limits, clock=clock, listeners=listeners)
    raise CoordinationError(f"no engine for a coordination URL that begins with {scheme}:")
