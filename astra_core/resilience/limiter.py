"""How much may run at once: a bulkhead with a bounded queue and priorities, and a cap for each key.

The bulkhead keeps one slow dependency from taking every task of the process (Michael Nygard, "Release It!"). Its limit
is fixed, or moved by an `AdaptiveLimit`. The queue is short and timed on purpose: a long one turns overload into
answers that come after their caller has left.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from astra_core.errors import Overloaded
from astra_core.events.limiter import CallRefused, LimitChanged
from astra_core.resilience.deadline import mark_not_begun, own_deadline_expired

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable
    from typing import Literal

    from astra_core.events import Listener
    from astra_core.resilience.sweep import Sweep

    Reason = Literal["full", "timeout", "displaced"]

__all__ = ["AdaptiveLimit", "KeyedLimiter", "Limiter", "LimiterParameters", "Priority"]

T = TypeVar("T")


class Priority(IntEnum):
    """Who is served first when calls queue. Equals are served in order."""

    CRITICAL = 0
    """What keeps the service alive and what it is for: health, redirects."""
    NORMAL = 1
    """Management."""
    BACKGROUND = 2
    """Statistics, exports, whatever can wait."""


class AdaptiveLimit(Protocol):
    """Finds the limit from how long calls take; see `adaptive.Gradient2`."""

    @property
    def limit(self) -> int:
        """Calls at once."""
        ...

    def observe(self, seconds: float, in_use: int) -> int:
        """Take note of a call that took `seconds` while `in_use` ran, itself included; the limit from now on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterParameters:
    """Calls at once (`limit`, unless adaptive), calls that may wait (`queue`), and seconds that each waits at most.

    `retry_after` is the wait in seconds that a refusal suggests.
    """

    limit: int = 100
    queue: int = 100
    timeout: float = 0.5
    retry_after: float = 1.0

    def __post_init__(self) -> None:
        if self.limit < 1 or self.queue < 0 or self.timeout <= 0:
            raise ValueError(f"a limiter needs a limit of 1 or more, a queue of 0 or more and a timeout: {self}")


class _Waiter:
    __slots__ = ("_limiter", "at", "future", "granted", "priority")

    def __init__(self, limiter: Limiter, priority: Priority, at: float) -> None:
        self._limiter = limiter
        self.priority = priority
        self.at = at
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.granted = False

    def expire(self) -> None:
        self._limiter.refuse(self, "timeout")


class Limiter:
    """A bulkhead: `limit` calls at once, a bounded queue by priority, then `Overloaded`.

    Use `call`, or the pair `try_acquire`/`acquire` and `release`. When the queue is full, a call of higher priority
    takes the place of the newest of the lowest. `parameters` may be replaced while it runs. One event loop only.
    """

    def __init__(
        self,
        name: str,
        *,
        sweep: Sweep,
        parameters: LimiterParameters | None = None,
        adaptive: AdaptiveLimit | None = None,
        listeners: Listener | None = None,
    ) -> None:
        self.name = name
        self.in_use = 0
        """Calls that run."""
        self.waiting = 0
        """Calls that queue."""
        self._sweep = sweep
        self._adaptive = adaptive
        self._listeners = listeners
        self._queues: tuple[OrderedDict[_Waiter, None], ...] = tuple(OrderedDict() for _ in Priority)
        self.parameters = parameters or LimiterParameters()

    @property
    def parameters(self) -> LimiterParameters:
        """The knobs in force."""
        return self._parameters

    @parameters.setter
    def parameters(self, new: LimiterParameters) -> None:
        self._parameters = new
        self._limit = self._adaptive.limit if self._adaptive else new.limit
        self._grant()

    @property
    def limit(self) -> int:
        """Calls that may run at once."""
        return self._limit

    @property
    def is_adaptive(self) -> bool:
        """Whether it learns from what `release` is told."""
        return self._adaptive is not None

    def try_acquire(self) -> bool:
        """Take a permit if one is free; False when the call would have to wait."""
        if self.in_use >= self._limit:  # whenever calls wait, too: a permit given back goes to one of them at once
            return False
        self.in_use += 1
        return True

    async def acquire(self, priority: Priority = Priority.NORMAL) -> None:
        """Take a permit, waiting for it in the queue; raises `Overloaded`. Each permit needs its `release`."""
        if self.try_acquire():
            return
        waiter = self._enqueue(priority)
        try:
            await waiter.future
        except asyncio.CancelledError as error:
            if waiter.granted:
                self.release()
            else:
                self._leave_queue(waiter)
            mark_not_begun(error)
            raise

    def release(self, seconds: float | None = None) -> None:
        """Give a permit back. `seconds`, how long the call took, teaches an adaptive limit; omit it for failures."""
        if seconds is not None and self._adaptive is not None:
            self._move(self._adaptive.observe(seconds, self.in_use))
        self.in_use -= 1
        if self.waiting:
            self._grant()

    async def call(self, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> T:
        """Return `await fn(...)` under a permit."""
        return await self.call_as(Priority.NORMAL, fn, *args, **kwargs)

    async def call_as(self, priority: Priority, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> T:
        """Return `await fn(...)` under a permit, queueing as `priority`."""
        if not self.try_acquire():
            await self.acquire(priority)
        if self._adaptive is not None:
            return await self._timed(fn, *args, **kwargs)
        try:
            return await fn(*args, **kwargs)
        finally:
            self.release()

    async def _timed(self, fn: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        """Observe successes and our own deadlines: other failures are often quick, whatever the load."""
        started, seconds = self._sweep.now(), None
        try:
            result = await fn(*args, **kwargs)
            seconds = self._sweep.now() - started
            return result
        except asyncio.CancelledError:
            if own_deadline_expired():
                seconds = self._sweep.now() - started
            raise
        finally:
            self.release(seconds)

    def refuse(self, waiter: _Waiter, reason: Reason) -> None:
        """Take `waiter` out of the queue and let it raise `Overloaded`."""
        self._leave_queue(waiter)
        if not waiter.future.done():
            waiter.future.set_exception(self._refusal(reason, waiter.priority))

    def _enqueue(self, priority: Priority) -> _Waiter:
        parameters = self._parameters
        if self.waiting >= parameters.queue and not self._displace(priority):
            raise self._refusal("full", priority)
        waiter = _Waiter(self, priority, self._sweep.now() + parameters.timeout)
        self._queues[priority][waiter] = None
        self.waiting += 1
        self._sweep.add(waiter)
        return waiter

    def _displace(self, priority: Priority) -> bool:
        for queue in reversed(self._queues[priority + 1 :]):
            if queue:
                self.refuse(next(reversed(queue)), "displaced")
                return True
        return False

    def _leave_queue(self, waiter: _Waiter) -> None:
        if waiter in self._queues[waiter.priority]:
            del self._queues[waiter.priority][waiter]
            self.waiting -= 1
            self._sweep.remove(waiter)

    def _grant(self) -> None:
        for queue in self._queues:
            while queue and self.in_use < self._limit:
                waiter = next(iter(queue))
                self._leave_queue(waiter)
                if not waiter.future.done():  # done: its caller was cancelled in this very turn of the loop
                    waiter.granted = True
                    self.in_use += 1
                    waiter.future.set_result(None)

    def _move(self, limit: int) -> None:
        if limit != self._limit:
            if self._listeners:
                self._listeners(LimitChanged(self.name, self._limit, limit))
            self._limit = limit

    def _refusal(self, reason: Reason, priority: Priority) -> Overloaded:
        if self._listeners:
            self._listeners(CallRefused(self.name, reason, self._limit, priority))
        return Overloaded(self.name, limit=self._parameters.queue, retry_after=self._parameters.retry_after)

    def __repr__(self) -> str:
        return f"Limiter({self.name!r}, in_use={self.in_use}/{self._limit}, waiting={self.waiting})"


class KeyedLimiter:
    """At most `limit` calls at once for each key, with no queue: one HTTP/2 connection (`scope["client"]`), one tenant.

    A client that opens streams and resets them leaves their handlers running (Rapid Reset, CVE-2023-44487), so streams
    in the server's count are not a bound on work; this is.
    """

    def __init__(self, name: str, *, limit: int, listeners: Listener | None = None) -> None:
        if limit < 1:
            raise ValueError("a keyed limiter needs a limit of 1 or more")
        self.name = name
        self.limit = limit
        self._listeners = listeners
        self._in_use: dict[Hashable, int] = {}

    def try_acquire(self, key: Hashable) -> bool:
        """Take a permit of `key`; False when it has none left. Each permit needs its `release`."""
        count = self._in_use.get(key, 0)
        if count >= self.limit:
            if self._listeners:
                self._listeners(CallRefused(self.name, "key", self.limit))
            return False
        self._in_use[key] = count + 1
        return True

    def release(self, key: Hashable) -> None:
        """Give a permit of `key` back; a key without calls takes no room."""
        count = self._in_use[key]
        if count == 1:
            del self._in_use[key]
        else:
            self._in_use[key] = count - 1

    def __len__(self) -> int:
        return len(self._in_use)

    def __repr__(self) -> str:
        return f"KeyedLimiter({self.name!r}, keys={len(self)}, limit={self.limit})"
