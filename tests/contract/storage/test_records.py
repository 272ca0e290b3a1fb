"""Records: what each write returns, what refuses it, and that a commit is all or nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from astra_core.errors import CommitConflict, ConflictReason, DefinitionError, StoreUnavailable
from astra_core.storage import (
    Add,
    Append,
    Change,
    Collection,
    Delete,
    Forget,
    Index,
    Insert,
    MemoryStore,
    Publish,
    Query,
    Record,
    Replace,
    Require,
    Take,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.storage import Store, Write


def thing(key: str, value: bytes = b"v", **entries: tuple[tuple[str | int, ...], ...]) -> Insert:
    """An insert into the things."""
    return Insert(collection="things", key=key, value=value, entries=entries)


async def refused(store: Store, writes: Sequence[Write]) -> CommitConflict:
    """The conflict that a commit raises."""
    with pytest.raises(CommitConflict) as caught:
        await store.commit(writes)
    return caught.value


async def test_an_inserted_record_is_read_back_exactly(store: Store) -> None:
    """An insert results in version 1 and every byte and letter comes back."""
    value, key = bytes(range(256)), "kłüç 🙂 \n'\""
    assert await store.commit([Insert(collection="plain", key=key, value=value)]) == (1,)
    assert await store.get("plain", key) == Record(key, 1, value)
    assert await store.get("plain", "other") is None
    assert await store.get("things", key) is None


async def test_an_insert_of_a_present_key_is_refused(store: Store) -> None:
    """A second insert of a key conflicts with EXISTS, names its place, and changes nothing."""
    await store.commit([thing("a", b"1")])
    conflict = await refused(store, [thing("b"), thing("a", b"2")])
    assert (conflict.reason, conflict.write, conflict.key) == (ConflictReason.EXISTS, 1, "a")
    assert await store.get("things", "b") is None
    assert await store.get("things", "a") == Record("a", 1, b"1")


async def test_a_replace_moves_the_version_on(store: Store) -> None:
    """A replace at the right version results in the next one; at another, or of nothing, it is refused."""
    await store.commit([thing("a", b"1")])
    replace = Replace(collection="things", key="a", version=1, value=b"2")
    assert await store.commit([replace]) == (2,)
    assert await store.get("things", "a") == Record("a", 2, b"2")
    assert (await refused(store, [replace])).reason is ConflictReason.VERSION
    missing = Replace(collection="things", key="b", version=1, value=b"2")
    assert (await refused(store, [missing])).reason is ConflictReason.MISSING


async def test_a_delete_results_in_the_version_it_removed(store: Store) -> None:
    """A delete without a version takes whatever stands, or nothing; with one it is refused when that differs."""
    await store.commit([thing("a"), Replace(collection="things", key="a", version=1, value=b"2")])
    wrong = Delete(collection="things", key="a", version=1)
    assert (await refused(store, [wrong])).reason is ConflictReason.VERSION
    assert await store.commit([Delete(collection="things", key="a", version=2)]) == (2,)
    assert await store.commit([Delete(collection="things", key="a")]) == (0,)
    assert (await refused(store, [wrong])).reason is ConflictReason.MISSING
    assert await store.commit([thing("a"), Delete(collection="things", key="a")]) == (1, 1)


async def test_a_fence_refuses_the_commit_without_writing(store: Store) -> None:
    """A require lets the commit pass at its version, 0 meaning absent, and refuses it otherwise."""
    fence = Require(collection="things", key="a", version=0)
    assert await store.commit([fence, thing("a")]) == (0, 1)
    assert (await refused(store, [fence])).reason is ConflictReason.EXISTS
    assert await store.commit([Require(collection="things", key="a", version=1)]) == (1,)
    assert (await refused(store, [thing("b"), Require(collection="things", key="a", version=2)])).write == 1
    late = Require(collection="things", key="c", version=2)
    assert (await refused(store, [late])).reason is ConflictReason.MISSING
    assert await store.get("things", "b") is None
    assert await store.get("things", "a") == Record("a", 1, b"v")


async def test_a_refused_commit_leaves_no_trace_of_any_kind_of_write(store: Store) -> None:
    """Whatever stood before the refused write is undone: records, entries, counters, positions, changes, history."""
    await store.commit([thing("kept", made=((1,),)), Add(counters="c", amounts={"n": 5}, source="s", position=1)])
    conflict = await refused(
        store,
        [
            Delete(collection="things", key="kept"),
            thing("new", made=((2,),), tag=(("t", 1),)),
            Add(counters="c", amounts={"n": 1, "m": 1}, source="s", position=2),
            Add(counters="c", amounts={"m": 1}, source="other", position=2),
            Take(counters="c", key="n", at_zero=()),
            Forget(source="s"),
            Change(feed="f", key="k"),
            Append(stream="e", key="k", data=b"1"),
            Publish(topic="t", key="k", data=b"1"),
            thing("new"),
        ],
    )
    assert (conflict.reason, conflict.write) == (ConflictReason.EXISTS, 9)
    page = await store.find(Query(collection="things", index="made"))
    assert page.records == (Record("kept", 1, b"v"),)
    assert (await store.find(Query(collection="things", index="tag"))).records == ()
    assert await store.counts("c", ["n", "m"]) == {"n": 5, "m": 0}
    assert await store.positions() == {"s": 1}
    anew: list[Write] = [
        Change(feed="f", key="k"),
        Append(stream="e", key="k", data=b"1"),
        Publish(topic="t", key="k", data=b"1"),
    ]
    assert await store.commit(anew) == (1, 1, 1)


async def test_a_later_write_sees_what_an_earlier_one_did(store: Store) -> None:
    """Writes of one commit apply in order."""
    results = await store.commit(
        [
            thing("a", b"1", slug=(("one",),)),
            Replace(collection="things", key="a", version=1, value=b"2", entries={"slug": (("two",),)}),
            thing("b", slug=(("one",),)),
            Delete(collection="things", key="a", version=2),
            thing("a", b"3", slug=(("two",),)),
        ]
    )
    assert results == (1, 2, 1, 2, 1)
    assert await store.get("things", "a") == Record("a", 1, b"3")


async def test_an_empty_commit_is_no_fault(store: Store) -> None:
    """Committing nothing results in nothing."""
    assert await store.commit([]) == ()


async def test_of_concurrent_inserts_of_one_key_exactly_one_wins(store: Store) -> None:
    """Thirty-two callers race for a key: one insert stands, every other hears EXISTS."""
    done = await asyncio.gather(*(store.commit([thing("k", b"%d" % n)]) for n in range(32)), return_exceptions=True)
    lost = [result for result in done if isinstance(result, CommitConflict)]
    assert len(lost) == 31
    assert {conflict.reason for conflict in lost} == {ConflictReason.EXISTS}
    record = await store.get("things", "k")
    assert record is not None
    assert done[int(record.value)] == (1,)


async def test_a_commit_survives_its_caller(store: Store) -> None:
    """A caller that is cancelled after it handed its commit over finds it made as a whole."""
    task = asyncio.create_task(store.commit([thing("a"), thing("b")]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.commit([thing("later")])
    assert await store.get("things", "a") is not None
    assert await store.get("things", "b") is not None


BAD_WRITES: list[Write] = [
    Insert(collection="none", key="a", value=b""),
    Insert(collection="plain", key="a", value=b"", entries={"made": ((1,),)}),
    thing("a", made=((1, 2),)),
    thing("a", made=((1,), (2,))),
    thing("a", made=((2**63,),)),
    thing("a", made=((True,),)),
    thing("a\0b"),
    thing("\ud800"),
    thing("a", slug=(("x\0",),)),
    Insert(collection="plain", key="a", value=b"", text="\udfff"),
    Replace(collection="plain", key="a", version=0, value=b""),
    Require(collection="plain", key="a", version=-1),
    Delete(collection="none", key="a"),
    Add(counters="c", amounts={"a": 2**63}),
    Take(counters="c", key="a", amount=0),
    Change(feed="f", key="\ud800"),
    Publish(topic="t\0", key="", data=b""),
    Append(stream="s", key="k\0", data=b""),
    Forget(source="\0"),
]


@pytest.mark.parametrize("write", BAD_WRITES, ids=lambda write: repr(write)[:60].encode("ascii", "replace").decode())
async def test_a_write_that_cannot_be_stored_is_a_value_error(store: Store, write: Write) -> None:
    """Unknown names, wrong parts, numbers beyond 64 bits, NUL and lone surrogates are refused, and nothing is kept."""
    with pytest.raises(ValueError, match=r"\w+ .+"):
        await store.commit([thing("before"), write])
    assert await store.get("things", "before") is None


async def test_a_closed_store_is_unavailable(store: MemoryStore) -> None:
    """After close every call raises `StoreUnavailable`; opening again serves again."""
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.commit([thing("a")])
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.get("things", "a")
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.moved()
    await store.open()
    assert await store.commit([thing("a")]) == (1,)


def test_collections_that_contradict_themselves_are_named_all_at_once() -> None:
    """Every problem of a definition stands in one error."""
    with pytest.raises(DefinitionError) as caught:
        MemoryStore(
            collections=[
                Collection(name="Bad"),
                Collection(name="twice"),
                Collection(name="twice", indexes=(Index(name="i", parts=0), Index(name="i"), Index(name="drop;"))),
            ]
        )
    assert len(caught.value.problems) == 5
