"""Leases and members in memory, for one process: for tests, where several nodes share one object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.clock import SystemClock
from astra_core.coordination.leases import Lease, Standing
from astra_core.coordination.members import Member, View
from astra_core.errors import CoordinationUnavailable, LeaseLost

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from astra_core.clock import Clock

__all__ = ["MemoryCoordination"]


class MemoryCoordination:
    """`Leases` and `Members` in dictionaries. `poll` is the pause in seconds between two looks of `changed`."""

    def __init__(self, *, clock: Clock | None = None, poll: float = 0.05) -> None:
        self._clock: Clock = clock or SystemClock()
        self._poll = poll
        self._leases: dict[str, tuple[Lease, str]] = {}
        self._members: dict[str, tuple[Lease, str]] = {}
        self._revision = 0
        self._open = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Take calls."""
        self._open = True

    async def close(self) -> None:
        """Take no more calls."""
        self._open = False

    async def acquire(self, name: str, *, ttl: float, holder: str = "") -> Lease | None:
        """See `Leases.acquire`."""
        now = self._now()
        held = self._leases.get(name)
        if held is not None and held[0].until > now:
            return None
        lease = Lease(name, held[0].epoch + 1 if held else 1, ttl, now + ttl)
        self._leases[name] = lease, holder
        return lease

    async def renew(self, lease: Lease) -> Lease:
        """See `Leases.renew`."""
        return _renewed(self._leases, lease, self._now())

    async def release(self, lease: Lease) -> None:
        """See `Leases.release`."""
        now = self._now()
        held = self._leases.get(lease.name)
        if held is not None and held[0].epoch == lease.epoch and held[0].until > now:
            self._leases[lease.name] = Lease(lease.name, lease.epoch, lease.ttl, now), held[1]

    async def standing(self, name: str) -> Standing | None:
        """See `Leases.standing`."""
        now = self._now()
        held = self._leases.get(name)
        if held is None or held[0].until <= now:
            return None
        return Standing(name, held[1], held[0].epoch, held[0].until - now)

    async def join(self, name: str, *, ttl: float, data: str = "") -> Lease | None:
        """See `Members.join`."""
        now = self._expel()
        if name in self._members:
            return None
        self._revision += 1
        lease = Lease(name, self._revision, ttl, now + ttl)
        self._members[name] = lease, data
        return lease

    async def beat(self, lease: Lease) -> Lease:
        """See `Members.beat`."""
        return _renewed(self._members, lease, self._expel())

    async def leave(self, lease: Lease) -> None:
        """See `Members.leave`."""
        self._expel()
        held = self._members.get(lease.name)
        if held is not None and held[0].epoch == lease.epoch:
            del self._members[lease.name]
            self._revision += 1

    async def view(self) -> View:
        """See `Members.view`."""
        self._expel()
        members = sorted(self._members.items())
        return View(self._revision, tuple(Member(name, lease.epoch, data) for name, (lease, data) in members))

    async def changed(self, after: int, *, wait: float) -> View:
        """See `Members.changed`."""
        end = self._clock.monotonic() + wait
        while (view := await self.view()).revision == after and self._clock.monotonic() < end:
            await self._clock.sleep(self._poll)
        return view

    def _now(self) -> float:
        if not self._open:
            raise CoordinationUnavailable("the coordination is closed")
        return self._clock.monotonic()

    def _expel(self) -> float:
        """Drop the members whose heartbeat is late; return the time."""
        now = self._now()
        for name in [name for name, (lease, _) in self._members.items() if lease.until <= now]:
            del self._members[name]
            self._revision += 1
        return now

    def __repr__(self) -> str:
        return f"MemoryCoordination(leases={len(self._leases)}, members={len(self._members)})"


def _renewed(held: dict[str, tuple[Lease, str]], lease: Lease, now: float) -> Lease:
    standing = held.get(lease.name)
    if standing is None or standing[0].epoch != lease.epoch or standing[0].until <= now:
        raise LeaseLost(lease.name, lease.epoch)
    renewed = Lease(lease.name, lease.epoch, lease.ttl, now + lease.ttl)
    held[lease.name] = renewed, standing[1]
    return renewed
