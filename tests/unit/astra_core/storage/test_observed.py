"""A store that tells of its calls: which, how long, and how they failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from astra_core.errors import CommitConflict
from astra_core.events import StoreCalled
from astra_core.storage import Collection, Index, Insert, MemoryStore, Query, StoreEngine, observed
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.storage import Record, Write


class Slow(MemoryStore):
    """A store whose every record takes 2 s, and whose commits never end."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(collections=[Collection(name="things", indexes=(Index(name="made"),))])
        self._clock = clock

    async def get(self, collection: str, key: str) -> Record | None:
        """Take 2 s."""
        self._clock.advance(2.0)
        return await super().get(collection, key)

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Never end, unless there is nothing to it."""
        if len(writes) > 1:
            await asyncio.Event().wait()
        return await super().commit(writes)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands."""
    return FakeClock()


@pytest.fixture
def heard() -> list[object]:
    """What was told."""
    return []


@pytest.fixture
async def store(clock: FakeClock, heard: list[object]) -> StoreEngine:
    """An open store, observed."""
    engine = observed(Slow(clock), name="memory", listener=heard.append, clock=clock)
    await engine.open()
    return engine


async def test_a_call_is_told_at_its_end_with_its_time(store: StoreEngine, heard: list[object]) -> None:
    """Store, operation, collection, seconds; and no error. Nothing is told of opening, closing and polling."""
    await store.get("things", "a key that is a secret")
    await store.moved()
    await store.close()
    assert heard == [StoreCalled("memory", "get", "things", 2.0, "")]


async def test_every_other_operation_is_told_by_its_own_name(store: StoreEngine, heard: list[object]) -> None:
    """None is told as another one, and each names its collection where it has one."""
    await store.commit([Insert(collection="things", key="a", value=b"")])
    await store.find(Query(collection="things", index="made"))
    await store.counts("visits", ["a"])
    await store.positions()
    await store.tip("feed")
    await store.changes("feed", after=0)
    await store.trim("feed", keep=1)
    await store.events("stream", "a")
    await store.messages()
    await store.waiting()
    told = [(event.operation, event.collection) for event in heard if isinstance(event, StoreCalled)]
    assert told == [
        ("commit", ""),
        ("find", "things"),
        ("counts", "visits"),
        ("positions", ""),
        ("tip", "feed"),
        ("changes", "feed"),
        ("trim", "feed"),
        ("events", "stream"),
        ("messages", ""),
        ("waiting", ""),
    ]


async def test_an_error_is_told_by_its_class_and_raised_as_it_is(store: StoreEngine, heard: list[object]) -> None:
    """Its words, which may quote a record, are not told."""
    insert = Insert(collection="things", key="a", value=b"")
    await store.commit([insert])
    with pytest.raises(CommitConflict):
        await store.commit([insert])
    assert heard[-1] == StoreCalled("memory", "commit", "", 0.0, "CommitConflict")


async def test_a_cancelled_call_is_told_too(store: StoreEngine, heard: list[object], clock: FakeClock) -> None:
    """With the time that was waited for it."""
    insert = Insert(collection="things", key="a", value=b"")
    call = asyncio.create_task(store.commit([insert, insert]))
    await asyncio.sleep(0)
    clock.advance(5.0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert heard == [StoreCalled("memory", "commit", "", 5.0, "CancelledError")]
