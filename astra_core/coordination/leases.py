"""The port of leases: who of many does a thing, for how long, and by which number the others know that it is over."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

__all__ = ["Lease", "Leases", "Standing"]


class Lease(Struct, frozen=True):
    """A lease as its holder has it.

    `epoch` grows by one with each new holder of `name` and is never used again: the fencing token. `until` is on the
    holder's monotonic clock, counted from before the store was asked: from then on the holder must not believe in the
    lease, and nobody else can have it before.
    """

    name: str
    epoch: int
    ttl: float
    until: float


class Standing(Struct, frozen=True):
    """Who holds a lease, for people: `left` seconds remain of it, as the store sees it."""

    name: str
    holder: str
    epoch: int
    left: float


class Leases(Protocol):
    """Leases by name. A name is kept for ever, with its epoch, so names are few: one a role, never one an entity.

    Every call may raise `CoordinationUnavailable`. Times are in seconds.
    """

    async def acquire(self, name: str, *, ttl: float, holder: str = "") -> Lease | None:
        """Take the lease if it is nobody's, else return None, also to its own holder. `holder` is for people."""
        ...

    async def renew(self, lease: Lease) -> Lease:
        """Return the lease for another `ttl` from now; raises `LeaseLost` once it is over, taken by others or not."""
        ...

    async def release(self, lease: Lease) -> None:
        """Let others have the lease now; does nothing when it is over already."""
        ...

    async def standing(self, name: str) -> Standing | None:
        """Return who holds the lease, None while nobody does."""
        ...
