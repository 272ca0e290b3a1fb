"""A store in, a store out, with policies: `guarded` puts them between an application and any store.

What goes through what, and why:

* **reads, repeated as idempotent**: `get`, `find`, `counts`, `positions`, `tip`, `changes`, `events`, `messages`,
  `waiting`.
* **writes, repeated only when nothing was written**: `commit`, and `trim`, whose callers try again by themselves.
* **the reads' deadline alone**: `moved`. It is polled many times a second, and an embedded engine answers it from
  memory while its disk is gone. Counted by the breaker it would hide a failing store behind good answers, and pass for
  a probe that went well. A feed that moved is then read with `changes`, under every part of the policy; a follower that
  keeps asking is thereby the probe that costs no user's request.
* **nothing**: `open` and `close`, which belong to the life of the process and not to a request.

Whatever a policy raises becomes `StoreUnavailable` here, at one place, so who calls a store needs to know of no policy.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar, overload

from astra_core.errors import CommitConflict, CommitInDoubt, Overloaded, StoreUnavailable
from astra_core.resilience.breaker import BreakerOpen
from astra_core.resilience.refusal import refused_by_us
from astra_core.resilience.retry import Repeat, retry_after_of, unsent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from astra_core.resilience.policy import Policy
    from astra_core.storage.changes import Changes
    from astra_core.storage.history import Event, Message
    from astra_core.storage.records import Page, Query, Record
    from astra_core.storage.store import Store
    from astra_core.storage.urls import StoreEngine
    from astra_core.storage.writes import Write

__all__ = ["guarded", "store_is_failing", "store_said_nothing", "wrote_nothing"]

T = TypeVar("T")

_SOON = 1.0
"""Seconds after which a further try makes sense when nothing better is known."""


def store_is_failing(error: Exception) -> bool:
    """Whether `error` speaks against the store: the `is_failure` of its breaker, and the `retry_on` of its retries.

    Not a conflict, which a healthy store answers, nor an impossible write, nor a refusal of ours: a full queue, an open
    breaker, a deadline that a caller had shortened. Through those no stranger opens a breaker.
    """
    if refused_by_us(error) or refused_by_us(error.__cause__):
        return False
    return isinstance(error, (StoreUnavailable, OSError))


def store_said_nothing(error: Exception) -> bool:
    """Whether `error` says nothing of the store, for or against: the `ignore` of its breaker.

    So a probe that was refused by a queue of ours, or was a mistake of its caller, does not pass for a good one.
    """
    return not store_is_failing(error) and not isinstance(error, CommitConflict)


def wrote_nothing(error: Exception) -> bool:
    """Whether a commit that raised `error` provably wrote nothing: the `is_unsent` of a store's retries.

    The port promises it of every `StoreUnavailable` but `CommitInDoubt`.
    """
    return unsent(error) or (isinstance(error, StoreUnavailable) and not isinstance(error, CommitInDoubt))


@overload
def guarded(store: StoreEngine, *, reads: Policy, writes: Policy) -> StoreEngine: ...
@overload
def guarded(store: Store, *, reads: Policy, writes: Policy) -> Store: ...
def guarded(store: Any, *, reads: Policy, writes: Policy) -> Any:
    """Return `store` behind policies; it serves the ports that `store` serves.

    A policy's breaker and retries are told what a failure of a store is; one policy for both, or one each where reads
    and writes fail apart, as on a full disk:

    >>> breaker = CircuitBreaker(
    ...     name="store", is_failure=store_is_failing, ignore=store_said_nothing,
    ...     cancellation_is_failure=own_deadline_expired,
    ... )
    >>> retry = RetryPolicy("store", sweep=sweep, retry_on=store_is_failing, is_unsent=wrote_nothing)
    >>> policy = Policy(name="store", deadline=deadlines, retry=retry, breaker=breaker, limiter=limiter)
    >>> store = guarded(store_from_url(...), reads=policy, writes=policy)

    A refusal raises `StoreUnavailable` from the policy's own error, its `retry_after` the breaker's or limiter's. A
    commit that a deadline cut off after it had reached the store raises `CommitInDoubt`.
    """
    return _Guarded(store, reads.idempotent, dataclasses.replace(writes, repeat=Repeat.UNSENT))


class _Guarded:
    """See `guarded`. Its methods hand out the guarding coroutine itself: one of their own would only await that.

    A port that the store does not serve is not served here either.
    """

    def __init__(self, store: StoreEngine, reads: Policy, writes: Policy) -> None:
        self._store = store
        self._reads = reads
        self._writes = writes
        self._polls = dataclasses.replace(reads, retry=None, breaker=None, limiter=None)

    async def open(self) -> None:
        """See `StoreEngine.open`."""
        await self._store.open()

    async def close(self) -> None:
        """See `StoreEngine.close`."""
        await self._store.close()

    def commit(self, writes: Sequence[Write]) -> Coroutine[Any, Any, tuple[int, ...]]:
        """See `Store.commit`."""
        return _call(self._writes, _Commit(self._store), writes)

    def get(self, collection: str, key: str) -> Coroutine[Any, Any, Record | None]:
        """See `Store.get`."""
        return _call(self._reads, self._store.get, collection, key)

    def find(self, query: Query) -> Coroutine[Any, Any, Page]:
        """See `Store.find`."""
        return _call(self._reads, self._store.find, query)

    def counts(self, counters: str, keys: Sequence[str]) -> Coroutine[Any, Any, Mapping[str, int]]:
        """See `Store.counts`."""
        return _call(self._reads, self._store.counts, counters, keys)

    def positions(self) -> Coroutine[Any, Any, Mapping[str, int]]:
        """See `Store.positions`."""
        return _call(self._reads, self._store.positions)

    def tip(self, feed: str) -> Coroutine[Any, Any, int]:
        """See `ChangesFeed.tip`."""
        return _call(self._reads, self._store.tip, feed)

    def changes(self, feed: str, *, after: int, limit: int = 1000) -> Coroutine[Any, Any, Changes]:
        """See `ChangesFeed.changes`."""
        return _call(self._reads, self._store.changes, feed, after=after, limit=limit)

    def moved(self) -> Coroutine[Any, Any, int]:
        """See `ChangesFeed.moved`."""
        return _call(self._polls, self._store.moved)

    def trim(self, feed: str, *, keep: int) -> Coroutine[Any, Any, int]:
        """See `ChangesFeed.trim`."""
        return _call(self._writes, self._store.trim, feed, keep=keep)

    def events(
        self, stream: str, key: str, *, after: int = 0, limit: int = 1000
    ) -> Coroutine[Any, Any, tuple[Event, ...]]:
        """See `History.events`."""
        return _call(self._reads, self._store.events, stream, key, after=after, limit=limit)

    def messages(self, *, after: int = 0, limit: int = 1000) -> Coroutine[Any, Any, tuple[Message, ...]]:
        """See `History.messages`."""
        return _call(self._reads, self._store.messages, after=after, limit=limit)

    def waiting(self) -> Coroutine[Any, Any, int]:
        """See `History.waiting`."""
        return _call(self._reads, self._store.waiting)

    def __repr__(self) -> str:
        return f"guarded({self._store!r}, reads={self._reads!r}, writes={self._writes!r})"


class _Commit:
    """One commit, through all its tries; `in_doubt` while one of them has reached the store and is not answered."""

    __slots__ = ("_store", "in_doubt")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.in_doubt = False

    async def __call__(self, writes: Sequence[Write]) -> tuple[int, ...]:
        self.in_doubt = True
        try:
            results = await self._store.commit(writes)
        except Exception as error:  # a cancellation is no answer
            self.in_doubt = isinstance(error, (CommitInDoubt, TimeoutError))
            raise
        self.in_doubt = False
        return results


async def _call(policy: Policy, call: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> T:
    """Call under `policy`: the one place where its refusals become the port's error."""
    try:
        return await policy.call(call, *args, **kwargs)
    except (BreakerOpen, Overloaded, TimeoutError) as error:
        kind = CommitInDoubt if isinstance(call, _Commit) and call.in_doubt else StoreUnavailable
        raise kind(_reason(policy, error), retry_after=_wait(policy, error)) from error


def _reason(policy: Policy, error: Exception) -> str:
    """What the refusal says, and the failure of the store that it comes from, if any."""
    reason = str(error) or f"{policy.name} did not answer in time"
    return f"{reason}: {error.__cause__}" if isinstance(error.__cause__, Exception) else reason


def _wait(policy: Policy, error: Exception) -> float:
    """What the refusal itself asks for; after a deadline what the breaker asks for, which that may have opened."""
    return retry_after_of(error) or retry_after_of(policy.breaker) or _SOON
