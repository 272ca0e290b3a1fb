"""The time in which one holds a lease: kept up by renewals, and over before anybody else can have the lease."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from astra_core.clock import wait_done
from astra_core.errors import CoordinationError, LeaseLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from astra_core.clock import Clock
    from astra_core.coordination.leases import Lease

__all__ = ["MARGIN", "Tenure"]

_log = logging.getLogger("astra.coordination")

MARGIN = 0.1
"""The share of a lease's ttl, at its end, in which its holder already stops."""


class Tenure:
    """A lease while it is kept. `held` needs no I/O: it is a look at the monotonic clock.

    It says no more than what this process may believe: it may be paused between the look and what follows. What must
    never be done by two is fenced with `epoch` in the storage's commit.
    """

    def __init__(self, lease: Lease, *, renew: Callable[[Lease], Awaitable[Lease]], clock: Clock) -> None:
        self.lease = lease
        self._renew = renew
        self._clock = clock
        self._over = False

    @property
    def name(self) -> str:
        """The lease's name."""
        return self.lease.name

    @property
    def epoch(self) -> int:
        """The fencing token."""
        return self.lease.epoch

    @property
    def left(self) -> float:
        """Seconds for which it is still held if no renewal succeeds; 0 once it is over."""
        if self._over:
            return 0.0
        return max(0.0, self.lease.until - MARGIN * self.lease.ttl - self._clock.monotonic())

    @property
    def held(self) -> bool:
        """Whether its holder may act."""
        return self.left > 0.0

    def check(self) -> None:
        """Raise `LeaseLost` unless it is held."""
        if not self.held:
            raise LeaseLost(self.name, self.epoch)

    async def keep(self) -> None:
        """Renew three times in a ttl; return once it is over, never later. Cancelling it ends the tenure."""
        renewing = asyncio.create_task(self._renew_again())
        try:
            while (left := self.left) > 0.0 and not renewing.done():
                await wait_done(renewing, self._clock, left)
            if renewing.done():
                renewing.result()
        finally:
            self._over = True
            renewing.cancel()

    async def _renew_again(self) -> None:
        """Renew until the lease is lost. While the store is away, ask it more often: there are seconds left."""
        pause = self.lease.ttl / 3
        while True:
            await self._clock.sleep(pause)
            try:
                self.lease = await self._renew(self.lease)
            except LeaseLost:
                return
            except CoordinationError:
                pause = self.lease.ttl / 20
            except Exception:
                _log.exception("the lease %s could not be renewed", self.name)
                pause = self.lease.ttl / 20
            else:
                pause = self.lease.ttl / 3

    def __repr__(self) -> str:
        return f"Tenure({self.name!r}, epoch={self.epoch}, left={self.left:.3f})"
