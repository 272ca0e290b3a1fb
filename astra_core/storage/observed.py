"""A store in, a store out, that tells of every call: what it was, how long it took, and how it failed.

Put it right round the engine, inside `guarded`: then each try is told, without the waits of policies round it.

`open`, `close` and `moved` are not told: the first two belong to the life of the process, and the last is a poll that
an embedded engine answers from memory many times a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from astra_core.events import StoreCalled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Mapping, Sequence

    from astra_core.clock import Clock
    from astra_core.events import Listener
    from astra_core.storage.changes import Changes
    from astra_core.storage.history import Event, Message
    from astra_core.storage.records import Page, Query, Record
    from astra_core.storage.urls import StoreEngine
    from astra_core.storage.writes import Write

__all__ = ["observed"]

T = TypeVar("T")


def observed(engine: StoreEngine, *, name: str, listener: Listener, clock: Clock) -> StoreEngine:
    """Return `engine`, with `listener` told `StoreCalled` of each call; `name` is what the events call the store."""
    return _Observed(engine, name, listener, clock)


class _Observed:
    """See `observed`. Its methods hand out the watching coroutine itself: one of their own would only await that."""

    def __init__(self, engine: StoreEngine, name: str, listener: Listener, clock: Clock) -> None:
        self._engine = engine
        self._name = name
        self._listener = listener
        self._now = clock.monotonic

    async def open(self) -> None:
        """See `StoreEngine.open`."""
        await self._engine.open()

    async def close(self) -> None:
        """See `StoreEngine.close`."""
        await self._engine.close()

    def commit(self, writes: Sequence[Write]) -> Coroutine[Any, Any, tuple[int, ...]]:
        """See `Store.commit`."""
        return self._watch("commit", "", self._engine.commit(writes))

    def get(self, collection: str, key: str) -> Coroutine[Any, Any, Record | None]:
        """See `Store.get`."""
        return self._watch("get", collection, self._engine.get(collection, key))

    def find(self, query: Query) -> Coroutine[Any, Any, Page]:
        """See `Store.find`."""
        return self._watch("find", query.collection, self._engine.find(query))

    def counts(self, counters: str, keys: Sequence[str]) -> Coroutine[Any, Any, Mapping[str, int]]:
        """See `Store.counts`."""
        return self._watch("counts", counters, self._engine.counts(counters, keys))

    def positions(self) -> Coroutine[Any, Any, Mapping[str, int]]:
        """See `Store.positions`."""
        return self._watch("positions", "", self._engine.positions())

    def tip(self, feed: str) -> Coroutine[Any, Any, int]:
        """See `ChangesFeed.tip`."""
        return self._watch("tip", feed, self._engine.tip(feed))

    def changes(self, feed: str, *, after: int, limit: int = 1000) -> Coroutine[Any, Any, Changes]:
        """See `ChangesFeed.changes`."""
        return self._watch("changes", feed, self._engine.changes(feed, after=after, limit=limit))

    async def moved(self) -> int:
        """See `ChangesFeed.moved`."""
        return await self._engine.moved()

    def trim(self, feed: str, *, keep: int) -> Coroutine[Any, Any, int]:
        """See `ChangesFeed.trim`."""
        return self._watch("trim", feed, self._engine.trim(feed, keep=keep))

    def events(
        self, stream: str, key: str, *, after: int = 0, limit: int = 1000
    ) -> Coroutine[Any, Any, tuple[Event, ...]]:
        """See `History.events`."""
        return self._watch("events", stream, self._engine.events(stream, key, after=after, limit=limit))

    def messages(self, *, after: int = 0, limit: int = 1000) -> Coroutine[Any, Any, tuple[Message, ...]]:
        """See `History.messages`."""
        return self._watch("messages", "", self._engine.messages(after=after, limit=limit))

    def waiting(self) -> Coroutine[Any, Any, int]:
        """See `History.waiting`."""
        return self._watch("waiting", "", self._engine.waiting())

    async def _watch(self, operation: str, collection: str, call: Awaitable[T]) -> T:
        began = self._now()
        try:
            result = await call
        except BaseException as error:  # a cancellation too: the time was spent
            self._listener(StoreCalled(self._name, operation, collection, self._now() - began, type(error).__name__))
            raise
        self._listener(StoreCalled(self._name, operation, collection, self._now() - began, ""))
        return result

    def __repr__(self) -> str:
        return f"observed({self._engine!r}, name={self._name!r})"
