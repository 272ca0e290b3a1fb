"""Leases and members in, leases and members out, with a policy.

* **Everything is repeated as idempotent.** A lease that was taken by a try whose answer was lost belongs to nobody, so
  the next try finds it held: that costs its ttl, and never gives it to two. Each try counts the ttl from its own start.
* **`changed` goes by no policy**: it waits for as long as its caller says. What it looks at has deadlines of its own.
* **`open` and `close`** belong to the life of the process and not to a call.

Whatever a policy raises becomes `CoordinationUnavailable` here, at one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from astra_core.errors import CoordinationUnavailable, LeaseLost, Overloaded
from astra_core.resilience.breaker import BreakerOpen
from astra_core.resilience.refusal import refused_by_us
from astra_core.resilience.retry import retry_after_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from astra_core.coordination.leases import Lease, Standing
    from astra_core.coordination.members import View
    from astra_core.coordination.urls import CoordinationEngine
    from astra_core.resilience.policy import Policy

__all__ = ["coordination_is_failing", "coordination_said_nothing", "guarded"]

T = TypeVar("T")

_SOON = 1.0
"""Seconds after which a further try makes sense when nothing better is known."""


def coordination_is_failing(error: Exception) -> bool:
    """Whether `error` speaks against the engine: the `is_failure` of its breaker, the `retry_on` of its retries.

    Not a lost lease, which a healthy engine answers, nor a refusal of ours.
    """
    if refused_by_us(error) or refused_by_us(error.__cause__):
        return False
    return isinstance(error, (CoordinationUnavailable, OSError))


def coordination_said_nothing(error: Exception) -> bool:
    """Whether `error` says nothing of the engine, for or against: the `ignore` of its breaker."""
    return not coordination_is_failing(error) and not isinstance(error, LeaseLost)


def guarded(engine: CoordinationEngine, *, policy: Policy) -> CoordinationEngine:
    """Return `engine` behind `policy`.

    >>> breaker = CircuitBreaker(
    ...     name="coordination", is_failure=coordination_is_failing, ignore=coordination_said_nothing,
    ...     cancellation_is_failure=own_deadline_expired,
    ... )
    >>> leases = guarded(coordination_from_url(...), policy=Policy(name="coordination", breaker=breaker))
    """
    return _Guarded(engine, policy.idempotent)


class _Guarded:
    """See `guarded`."""

    def __init__(self, engine: CoordinationEngine, policy: Policy) -> None:
        self._engine = engine
        self._policy = policy

    async def open(self) -> None:
        """See `CoordinationEngine.open`."""
        await self._engine.open()

    async def close(self) -> None:
        """See `CoordinationEngine.close`."""
        await self._engine.close()

    async def acquire(self, name: str, *, ttl: float, holder: str = "") -> Lease | None:
        """See `Leases.acquire`."""
        return await self._answered(self._policy.call(self._engine.acquire, name, ttl=ttl, holder=holder))

    async def renew(self, lease: Lease) -> Lease:
        """See `Leases.renew`."""
        return await self._answered(self._policy.call(self._engine.renew, lease))

    async def release(self, lease: Lease) -> None:
        """See `Leases.release`."""
        await self._answered(self._policy.call(self._engine.release, lease))

    async def standing(self, name: str) -> Standing | None:
        """See `Leases.standing`."""
        return await self._answered(self._policy.call(self._engine.standing, name))

    async def join(self, name: str, *, ttl: float, data: str = "") -> Lease | None:
        """See `Members.join`."""
        return await self._answered(self._policy.call(self._engine.join, name, ttl=ttl, data=data))

    async def beat(self, lease: Lease) -> Lease:
        """See `Members.beat`."""
        return await self._answered(self._policy.call(self._engine.beat, lease))

    async def leave(self, lease: Lease) -> None:
        """See `Members.leave`."""
        await self._answered(self._policy.call(self._engine.leave, lease))

    async def view(self) -> View:
        """See `Members.view`."""
        return await self._answered(self._policy.call(self._engine.view))

    async def changed(self, after: int, *, wait: float) -> View:
        """See `Members.changed`."""
        return await self._engine.changed(after, wait=wait)

    async def _answered(self, call: Awaitable[T]) -> T:
        """Await `call`: the one place where the policy's refusals become the port's error."""
        try:
            return await call
        except (BreakerOpen, Overloaded, TimeoutError) as error:
            wait = retry_after_of(error) or retry_after_of(self._policy.breaker) or _SOON
            reason = str(error) or f"{self._policy.name} did not answer in time"
            raise CoordinationUnavailable(reason, retry_after=wait) from error

    def __repr__(self) -> str:
        return f"guarded({self._engine!r}, policy={self._policy!r})"
