"""The port of membership: who is there, each list under a number of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from astra_core.coordination.leases import Lease

__all__ = ["Member", "Members", "View"]


class Member(Struct, frozen=True):
    """One who is there. `epoch` tells its lives apart; `data` is what it says of itself, such as an address."""

    name: str
    epoch: int
    data: str = ""


class View(Struct, frozen=True):
    """All members in the order of their names. `revision` grows with each change: one number, one list."""

    revision: int
    members: tuple[Member, ...]

    def has(self, name: str, epoch: int) -> bool:
        """Whether this life of the member is there."""
        return any(member.name == name and member.epoch == epoch for member in self.members)


class Members(Protocol):
    """Who is there. A membership is a lease on one's name: renewed by heartbeats, over when they are late.

    Every call may raise `CoordinationUnavailable`. Times are in seconds.
    """

    async def join(self, name: str, *, ttl: float, data: str = "") -> Lease | None:
        """Become a member, or return None while another life of `name` is one."""
        ...

    async def beat(self, lease: Lease) -> Lease:
        """Stay a member for another `ttl` from now; raises `LeaseLost` once that is over."""
        ...

    async def leave(self, lease: Lease) -> None:
        """Be no member any more; does nothing when that is so already."""
        ...

    async def view(self) -> View:
        """Return who is there now; whose heartbeat is late is not."""
        ...

    async def changed(self, after: int, *, wait: float) -> View:
        """Return the view once its revision is another than `after`; after `wait` seconds return it anyway."""
        ...
