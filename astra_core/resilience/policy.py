"""Policies composed: deadline → retry → breaker → limiter → call.

The order, outermost first, and its reason:

* **deadline**: bounds everything inside, waits between tries and in queues included.
* **retry** outside the breaker, so that every try is counted by it and a try meets it anew: once it has opened, the
  next try is refused at once. The other way round the breaker would see one failure where the dependency saw three.
* **breaker** outside the limiter, so that a refusal of an open breaker takes neither permit nor place in the queue. Our
  own limiter's refusals pass it and count neither way: they say nothing about the dependency. Build the breaker with
  `cancellation_is_failure=own_deadline_expired`, so that a hang that a deadline here cuts off counts as the failure
  that it is, and a caller's departure does not.
* **limiter** next to the call, so that a permit is held while the dependency works, never while a retry sleeps.

Each part's `call` takes the next one as its function, so composing them needs no wrapper in between. Where none of them
needs a coroutine of its own for a call, which is nearly always, `Policy` takes the steps inside the deadline in one:
three coroutines cost more than all that they do.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from astra_core.resilience.breaker_calls import Calls
from astra_core.resilience.limiter import Priority
from astra_core.resilience.retry import Repeat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from astra_core.resilience.deadline import Deadlines
    from astra_core.resilience.limiter import Limiter
    from astra_core.resilience.retry import RetryPolicy

__all__ = ["Breaker", "Policy"]

T = TypeVar("T")


class Breaker(Protocol):
    """What a policy needs of a breaker: `CircuitBreaker`, or `AdaptiveThrottle` in its place."""

    async def call_async(self, func: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> T:
        """Return `await func(...)`, or raise without calling it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How calls of the dependency `name` are made; None leaves a part out. Any async callable goes through `call`.

    >>> store = Policy(name="store", deadline=deadlines, retry=retry, breaker=breaker, limiter=limiter)
    >>> await store.idempotent.call(read, "key")  # tried again when that may help
    >>> await store.call(append, "event")  # tried again only if it never left

    The parts hold all state and are shared by every policy made from this one; their parameters may be replaced while
    they run.
    """

    name: str
    deadline: Deadlines | None = None
    retry: RetryPolicy | None = None
    breaker: Breaker | None = None
    limiter: Limiter | None = None
    repeat: Repeat = Repeat.UNSENT
    priority: Priority = Priority.NORMAL
    _chain: tuple[Callable[..., Awaitable[Any]], ...] = field(init=False, repr=False, compare=False)
    _parts: tuple[Deadlines, RetryPolicy, Calls, Limiter] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        chain: list[Callable[..., Awaitable[Any]]] = []
        if self.deadline is not None:
            chain.append(self.deadline.call)
        if self.retry is not None:
            chain.append(partial(self.retry.call_as, self.repeat))
        if self.breaker is not None:
            chain.append(self.breaker.call_async)
        if self.limiter is not None:
            chain.append(partial(self.limiter.call_as, self.priority))
        object.__setattr__(self, "_chain", tuple(chain))
        parts = None
        if self.deadline and self.retry and isinstance(self.breaker, Calls) and self.limiter:
            parts = self.deadline, self.retry, self.breaker, self.limiter
        object.__setattr__(self, "_parts", parts)

    @property
    def idempotent(self) -> Policy:
        """The same policy for calls that change nothing, or the same thing again."""
        return dataclasses.replace(self, repeat=Repeat.IDEMPOTENT)

    @property
    def keyed(self) -> Policy:
        """The same policy for calls that an idempotency key makes safe to repeat."""
        return dataclasses.replace(self, repeat=Repeat.KEYED)

    def at(self, priority: Priority) -> Policy:
        """The same policy for calls that queue as `priority`."""
        return dataclasses.replace(self, priority=priority)

    def call(self, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, T]:
        """Return `await fn(...)` under every part of this policy, or raise what the call or a part raised."""
        if self._parts is None:
            return self._chained(fn, *args, **kwargs)
        deadlines, retry, breaker, limiter = self._parts
        if not retry.is_plain or not breaker.is_plain or limiter.is_adaptive:
            return self._chained(fn, *args, **kwargs)
        return deadlines.call(self._inlined, retry, breaker, limiter, fn, *args, **kwargs)

    async def _inlined(
        self,
        retry: RetryPolicy,
        breaker: Calls,
        limiter: Limiter,
        fn: Callable[..., Awaitable[T]],
        *args: Any,
        **kwargs: Any,
    ) -> T:
        """What stands inside the deadline, step by step."""
        retry.begin()
        try:
            permit = breaker.begin()
            try:
                if not limiter.try_acquire():
                    await limiter.acquire(self.priority)
                try:
                    result = await fn(*args, **kwargs)
                finally:
                    limiter.release()
            except BaseException as error:
                breaker.raised(permit, error)
                raise
            breaker.end(permit)
            return result
        except Exception as error:
            plan = retry.plan_after(error, self.repeat)
            if plan is None:
                raise
        return await retry.again(plan, self.repeat, *self._chain[2:], fn, *args, **kwargs)

    async def _chained(self, fn: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        chain = *self._chain, fn
        result: T = await chain[0](*chain[1:], *args, **kwargs)
        return result

    def __repr__(self) -> str:
        parts = (self.deadline, self.retry, self.breaker, self.limiter, "call")
        return f"Policy({self.name!r}: {' → '.join(str(part) for part in parts if part is not None)})"
