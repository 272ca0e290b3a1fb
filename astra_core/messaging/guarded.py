"""An engine in, an engine out, with policies: `guarded` puts them round whatever its publishers and consumers call.

What goes through what, and why:

* **publish, repeated when every message has an id**: consumers recognise what comes twice, and it comes in order. One
  without an id is repeated only when nothing of it left. It is never hedged: two copies at once would break the order.
* **acknowledge, topics and forget, repeated as idempotent**.
* **receive, through the breaker alone, and a deadline longer by what it may wait**: who receives asks again anyway, and
  a permit held while it waits for news would be taken from those that have something to do. With the breaker open it
  raises at once, however long it was told to wait.
* **nothing**: `open`, `close` and `release`, which belong to the life of the process and not to a call.

Whatever a policy raises becomes `MessagingUnavailable` here, at one place.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from astra_core.errors import MessagingUnavailable, Overloaded
from astra_core.resilience.breaker import BreakerOpen
from astra_core.resilience.refusal import refused_by_us
from astra_core.resilience.retry import Repeat, retry_after_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from astra_core.messaging.messages import Outgoing, Received, TopicState
    from astra_core.messaging.port import Consumer, MessagingEngine, Publisher
    from astra_core.resilience.policy import Policy

__all__ = ["guarded", "messaging_is_failing", "messaging_said_nothing"]

T = TypeVar("T")

_SOON = 1.0
"""Seconds after which a further try makes sense when nothing better is known."""


def messaging_is_failing(error: Exception) -> bool:
    """Whether `error` speaks against the engine: the `is_failure` of its breaker, and the `retry_on` of its retries.

    Not a lost claim, which a healthy engine answers, nor an impossible message, nor a refusal of ours.
    """
    if refused_by_us(error) or refused_by_us(error.__cause__):
        return False
    return isinstance(error, (MessagingUnavailable, OSError))


def messaging_said_nothing(error: Exception) -> bool:
    """Whether `error` says nothing of the engine, for or against: the `ignore` of its breaker."""
    return not messaging_is_failing(error)


def guarded(engine: MessagingEngine, *, publishing: Policy, consuming: Policy) -> MessagingEngine:
    """Return `engine` behind policies: one for both sides, or one each where they fail apart, as on a full disk.

    >>> breaker = CircuitBreaker(
    ...     name="messaging", is_failure=messaging_is_failing, ignore=messaging_said_nothing,
    ...     cancellation_is_failure=own_deadline_expired,
    ... )
    >>> retry = RetryPolicy("messaging", sweep=sweep, retry_on=messaging_is_failing)
    >>> policy = Policy(name="messaging", deadline=deadlines, retry=retry, breaker=breaker)
    >>> engine = guarded(messaging_from_url(...), publishing=policy, consuming=policy)
    """
    return _Guarded(engine, publishing, consuming)


class _Guarded:
    """See `guarded`."""

    def __init__(self, engine: MessagingEngine, publishing: Policy, consuming: Policy) -> None:
        self._engine = engine
        self._publishing = publishing
        self._consuming = consuming

    async def open(self) -> None:
        """See `MessagingEngine.open`."""
        await self._engine.open()

    async def close(self) -> None:
        """See `MessagingEngine.close`."""
        await self._engine.close()

    def publisher(self) -> Publisher:
        """See `MessagingEngine.publisher`."""
        return _Publisher(self._engine.publisher(), self._publishing)

    def consumer(self, topic: str, *, group: str) -> Consumer:
        """See `MessagingEngine.consumer`."""
        return _Consumer(self._engine.consumer(topic, group=group), self._consuming)

    async def topics(self) -> Sequence[TopicState]:
        """See `MessagingEngine.topics`."""
        return await _call(self._consuming.idempotent, self._engine.topics)

    async def forget(self, topic: str, *, group: str) -> None:
        """See `MessagingEngine.forget`."""
        await _call(self._consuming.idempotent, self._engine.forget, topic, group=group)

    def __repr__(self) -> str:
        return f"guarded({self._engine!r}, publishing={self._publishing!r}, consuming={self._consuming!r})"


class _Publisher:
    """See `guarded`."""

    def __init__(self, publisher: Publisher, policy: Policy) -> None:
        self._publisher = publisher
        self._policy = dataclasses.replace(policy, repeat=Repeat.UNSENT)
        self._known = policy.keyed

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """See `Publisher.publish`."""
        policy = self._known if all(message.id for message in messages) else self._policy
        await _call(policy, self._publisher.publish, messages)

    def __repr__(self) -> str:
        return f"guarded({self._publisher!r}, {self._policy!r})"


class _Consumer:
    """See `guarded`."""

    def __init__(self, consumer: Consumer, policy: Policy) -> None:
        self._consumer = consumer
        self._policy = policy.idempotent
        self._deadlines = policy.deadline
        self._breaker = dataclasses.replace(policy, deadline=None, retry=None, limiter=None)

    async def receive(self, *, limit: int = 100, wait: float = 0.0) -> Sequence[Received]:
        """See `Consumer.receive`."""
        with _refusals(self._policy):
            return await self._receive(limit, wait)

    async def acknowledge(self, through: Received | int) -> None:
        """See `Consumer.acknowledge`."""
        await _call(self._policy, self._consumer.acknowledge, through)

    async def release(self) -> None:
        """See `Consumer.release`."""
        await self._consumer.release()

    async def _receive(self, limit: int, wait: float) -> Sequence[Received]:
        if self._deadlines is None:
            return await self._breaker.call(self._consumer.receive, limit=limit, wait=wait)
        async with self._deadlines.scope(wait + self._deadlines.parameters.budget):
            return await self._breaker.call(self._consumer.receive, limit=limit, wait=wait)

    def __repr__(self) -> str:
        return f"guarded({self._consumer!r}, {self._policy!r})"


async def _call(policy: Policy, call: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> T:
    with _refusals(policy):
        return await policy.call(call, *args, **kwargs)


@contextmanager
def _refusals(policy: Policy) -> Iterator[None]:
    """The one place where a policy's refusals become the port's error.

    Its wait is what the refusal itself asks for; after a deadline what the breaker does, which that may have opened.
    """
    try:
        yield
    except (BreakerOpen, Overloaded, TimeoutError) as error:
        reason = str(error) or f"{policy.name} did not answer in time"
        if isinstance(error.__cause__, Exception):
            reason = f"{reason}: {error.__cause__}"
        wait = retry_after_of(error) or retry_after_of(policy.breaker) or _SOON
        raise MessagingUnavailable(reason, retry_after=wait) from error
