"""Commits that wait at the same time: a store may do several at once, and nobody can tell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

import pytest

from astra_core.errors import CommitConflict, ConflictReason
from astra_core.storage import Add, Append, Change, Insert, Query, Replace, Require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.storage import MemoryStore, SqliteStore, Write

    AnyStore: TypeAlias = MemoryStore | SqliteStore


def thing(key: str, slug: str | None = None, *tags: str) -> Insert:
    """A record of the collection with every kind of index."""
    entries: dict[str, tuple[tuple[str | int, ...], ...]] = {"made": ((len(key),),)}
    if slug is not None:
        entries["slug"] = ((slug,),)
    if tags:
        entries["tag"] = tuple((tag, 1) for tag in tags)
    return Insert(collection="things", key=key, value=key.encode(), entries=entries, text=key)


async def all_of(store: AnyStore, commits: Sequence[Sequence[Write]]) -> list[tuple[int, ...] | BaseException]:
    """What became of commits sent at the same time."""
    return await asyncio.gather(*(store.commit(writes) for writes in commits), return_exceptions=True)


async def test_every_commit_of_many_gets_its_own_results(store: AnyStore) -> None:
    """Records are there, and the numbers of a feed have no holes and belong to who was told them."""
    found = await all_of(store, [[thing(f"k{n}"), Change(feed="f", key=f"k{n}")] for n in range(90)])
    numbers = {}
    for place, result in enumerate(found):
        assert isinstance(result, tuple)
        assert result[0] == 1
        numbers[result[1]] = f"k{place}"
    assert sorted(numbers) == list(range(1, 91))
    assert (await store.changes("f", after=0)).keys == tuple(numbers[number] for number in sorted(numbers))
    for n in range(90):
        record = await store.get("things", f"k{n}")
        assert record is not None
        assert (record.version, record.value) == (1, f"k{n}".encode())


async def test_a_refused_commit_takes_no_other_with_it(store: AnyStore) -> None:
    """A key or a unique entry that is there already, before or by another of the same moment, refuses one alone."""
    await store.commit([thing("old", "taken")])
    commits: list[list[Write]] = [[Change(feed="f", key=f"k{n}"), thing(f"k{n}")] for n in range(20)]
    commits[3] = [Change(feed="f", key="lost"), thing("old")]
    commits[9] = [Change(feed="f", key="lost"), thing("k9", "taken")]
    commits[12] = [Change(feed="f", key="lost"), thing("k11")]
    found = await all_of(store, commits)
    refused = {place: error for place, error in enumerate(found) if isinstance(error, CommitConflict)}
    assert {3, 9} < set(refused)
    assert len(refused) == 3
    assert {refused[3].reason, refused[9].reason} == {ConflictReason.EXISTS, ConflictReason.UNIQUE}
    assert all(error.write == 1 for error in refused.values())
    keys = (await store.changes("f", after=0)).keys
    assert len(keys) == 17
    assert "lost" not in keys or set(refused) == {3, 9, 11}  # k11 went to whoever came first
    assert await store.get("things", "k9") is None


async def test_commits_of_all_kinds_may_wait_together(store: AnyStore) -> None:
    """What must be done by itself stands between what may be done at once, and all of it happens."""
    commits: list[list[Write]] = []
    for n in range(12):
        commits.append([thing(f"k{n}"), Change(feed="f", key=f"k{n}"), Change(feed="g", key=f"k{n}")])
        commits.append([thing(f"t{n}", None, "a", "b")])
        commits.append([Add(counters="c", amounts={"all": 1}), Change(feed="f", key="add")])
        commits.append([Append(stream="s", key="e", data=b"x")])
        commits.append([])
    assert [error for error in await all_of(store, commits) if isinstance(error, BaseException)] == []
    assert (await store.counts("c", ["all"]))["all"] == 12
    assert len((await store.changes("f", after=0)).keys) == 24
    assert (await store.changes("g", after=0)).seq == 12
    assert [event.number for event in await store.events("s", "e")] == list(range(1, 13))


async def test_a_commit_reads_what_one_before_it_wrote(store: AnyStore) -> None:
    """Sent one after another by the same caller, an insert is there for the replace that follows."""
    insert = asyncio.create_task(store.commit([thing("k")]))
    await asyncio.sleep(0)
    replace = asyncio.create_task(store.commit([Replace(collection="things", key="k", version=1, value=b"new")]))
    assert await insert == (1,)
    assert await replace == (2,)


async def test_a_commit_of_many_writes_is_done_in_order(store: AnyStore) -> None:
    """Each write of a large commit gets its own result, whatever stands between the inserts; later ones see earlier."""
    await store.commit([thing("state"), Change(feed="f", key="before")])
    writes: list[Write] = [Require(collection="things", key="state", version=1)]
    for n in range(50):
        writes += [thing(f"k{n}", f"s{n}", "all", f"t{n % 3}"), Change(feed="f", key=f"k{n}")]
        if n == 20:
            writes += [
                Replace(collection="things", key="k5", version=1, value=b"new"),
                Add(counters="c", amounts={"a": 2}),
            ]
    results = await store.commit(writes)
    expected: list[int] = [1]
    for n in range(50):
        expected += [1, n + 2]
        if n == 20:
            expected += [2, 2]
    assert list(results) == expected
    tagged = await store.find(Query(collection="things", index="tag", prefix=("t1", 1), limit=100))
    assert {record.key for record in tagged.records} == {f"k{n}" for n in range(50) if n % 3 == 1}
    record = await store.get("things", "k5")
    assert record is not None
    assert record.value == b"new"


async def test_a_large_commit_names_the_write_that_refuses_it(store: AnyStore) -> None:
    """The place, the key and the reason are those of the first refused write, and nothing of the commit is there."""
    await store.commit([thing("old", "taken")])
    for refused, reason in ((thing("old"), ConflictReason.EXISTS), (thing("new", "taken"), ConflictReason.UNIQUE)):
        writes: list[Write] = [thing(f"k{n}", None, "t") for n in range(40)]
        writes[30] = refused
        with pytest.raises(CommitConflict) as caught:
            await store.commit(writes)
        assert (caught.value.write, caught.value.key, caught.value.reason) == (30, refused.key, reason)
        assert await store.get("things", "k0") is None
