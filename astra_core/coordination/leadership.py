"""One of many does it: work that runs in whichever process holds a lease."""

from __future__ import annotations

import asyncio
import logging
import random as random_module
from typing import TYPE_CHECKING, Literal

from astra_core.clock import SystemClock
from astra_core.coordination.asking import asked
from astra_core.coordination.tenure import Tenure
from astra_core.errors import CoordinationError
from astra_core.events import LeaseEnded, LeaseTaken, WorkFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from astra_core.clock import Clock
    from astra_core.coordination.leases import Lease, Leases
    from astra_core.events import Listener

__all__ = ["Leadership"]

_log = logging.getLogger("astra.coordination")


class Leadership:
    """Competes for the lease `name`, and runs work while it has it.

    >>> leadership = Leadership(leases, "sweeper", ttl=10.0)
    >>> sweeping = asyncio.create_task(leadership.run(lambda tenure: sweeper.run()))

    The lease is renewed three times in a `ttl`. Work is cancelled once it cannot be renewed, before another process can
    have it. A process that was stopped for long finds that out when it goes on, and may have done a step by then: what
    must not happen twice is fenced in the store.
    """

    def __init__(
        self,
        leases: Leases,
        name: str,
        *,
        ttl: float = 10.0,
        holder: str = "",
        clock: Clock | None = None,
        random: random_module.Random | None = None,
        listeners: Listener | None = None,
    ) -> None:
        """`holder` is what people see of who holds it."""
        if ttl <= 0:
            raise ValueError("a lease needs a ttl above 0 seconds")
        self.name = name
        self.ttl = ttl
        self.tenure: Tenure | None = None
        """The lease while it is held here."""
        self.terms = 0
        """How often it was taken here."""
        self._leases = leases
        self._holder = holder
        self._clock: Clock = clock or SystemClock()
        self._random = random or random_module.Random()  # noqa: S311 - jitter, no secret
        self._listeners = listeners

    @property
    def held(self) -> bool:
        """Whether this process may act as the holder."""
        return self.tenure is not None and self.tenure.held

    @property
    def epoch(self) -> int:
        """The epoch of the lease while it is held here, else 0."""
        return self.tenure.epoch if self.tenure is not None and self.tenure.held else 0

    async def run(self, work: Callable[[Tenure], Awaitable[object]]) -> None:
        """Run `work` whenever the lease is held here, until it returns by itself; then the lease is released.

        Work that lost its lease is cancelled, and awaited before the lease is wanted again; it is run again, however it
        ended. So is work that raised: it is logged, and the lease left to others for a moment. Cancelling `run` cancels
        the work, then releases.
        """
        while True:
            tenure = await self._win()
            if await self._lead(tenure, work):
                return
            await self._pause()

    async def _win(self) -> Tenure:
        """Wait for the lease."""
        while True:
            asking = self._leases.acquire(self.name, ttl=self.ttl, holder=self._holder)
            try:
                lease = await asked(asking, give_back=self._release, wait=self.ttl)
            except CoordinationError as error:
                _log.warning("lease %s cannot be asked for: %s", self.name, error)
            except Exception:
                _log.exception("lease %s cannot be asked for", self.name)
            else:
                if lease is not None:
                    return Tenure(lease, renew=self._leases.renew, clock=self._clock)
            await self._pause()

    async def _lead(self, tenure: Tenure, work: Callable[[Tenure], Awaitable[object]]) -> bool:
        """Run `work` while the lease is held; return whether it returned by itself, with the lease still held."""
        self.tenure = tenure
        self.terms += 1
        self._tell(LeaseTaken(self.name, tenure.epoch))
        keeping = asyncio.create_task(tenure.keep())
        working = asyncio.create_task(_run(work, tenure))
        outcome: Literal["released", "lost"] = "released"
        try:
            await asyncio.wait((keeping, working), return_when=asyncio.FIRST_COMPLETED)
            outcome = "released" if working.done() and tenure.held else "lost"
        finally:
            await self._end(tenure, keeping, working, outcome)
        return self._succeeded(working) and outcome == "released"

    async def _end(
        self,
        tenure: Tenure,
        keeping: asyncio.Task[None],
        working: asyncio.Task[None],
        outcome: Literal["released", "lost"],
    ) -> None:
        """Stop the work first, then the renewals, then let others have the lease.

        Work that is still there, its caller having been cancelled twice, keeps the lease until that ends by itself.
        """
        try:
            working.cancel()
            await asyncio.wait((working,))
        finally:
            keeping.cancel()
            self.tenure = None
            self._tell(LeaseEnded(self.name, tenure.epoch, outcome))
            if working.done():
                await self._release(tenure.lease)

    def _succeeded(self, working: asyncio.Task[None]) -> bool:
        if working.cancelled():
            return False
        error = working.exception()
        if error is None:
            return True
        _log.error("the work under lease %s failed, and will be run again", self.name, exc_info=error)
        self._tell(WorkFailed(self.name, type(error).__name__))
        return False

    async def _release(self, lease: Lease) -> None:
        try:
            await self._leases.release(lease)
        except CoordinationError as error:
            _log.warning("lease %s could not be released and ends by itself: %s", self.name, error)
        except Exception:
            _log.exception("lease %s could not be released and ends by itself", self.name)

    async def _pause(self) -> None:
        """Wait for the next look: a third of a ttl, less a part by chance, so that not all who wait ask at once."""
        await self._clock.sleep(self.ttl / 3 * self._random.uniform(0.7, 1.0))

    def _tell(self, event: object) -> None:
        if self._listeners is not None:
            self._listeners(event)

    def __repr__(self) -> str:
        return f"Leadership({self.name!r}, terms={self.terms}, held={self.held}, epoch={self.epoch})"


async def _run(work: Callable[[Tenure], Awaitable[object]], tenure: Tenure) -> None:
    await work(tenure)
