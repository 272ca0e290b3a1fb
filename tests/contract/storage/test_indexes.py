"""Indexes: order, pages, prefixes, several entries a record, uniqueness, and bounded search."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from astra_core.errors import CommitConflict, ConflictReason
from astra_core.storage import Delete, Insert, Query, Replace

if TYPE_CHECKING:
    from astra_core.storage import Scalar, Store


def thing(key: str, text: str = "", **entries: tuple[tuple[Scalar, ...], ...]) -> Insert:
    """An insert into the things."""
    return Insert(collection="things", key=key, value=key.encode(), entries=entries, text=text)


async def keys(store: Store, index: str, **query: object) -> list[str]:
    """Keys of one page."""
    page = await store.find(Query(collection="things", index=index, **query))  # type: ignore[arg-type]
    return [record.key for record in page.records]


async def walk(store: Store, query: Query) -> list[list[str]]:
    """Keys of every page from the first to the last."""
    pages, after = [], query.after
    while True:
        page = await store.find(
            Query(
                collection=query.collection,
                index=query.index,
                prefix=query.prefix,
                below=query.below,
                contains=query.contains,
                descending=query.descending,
                limit=query.limit,
                scan=query.scan,
                after=after,
            )
        )
        pages.append([record.key for record in page.records])
        if page.next is None:
            return pages
        after = page.next


async def test_strings_stand_by_code_point_and_numbers_by_value(store: Store) -> None:
    """Order is that of code points and whole numbers, then of keys; numbers stand before strings."""
    texts = ["", "10", "9", "Z", "a", "aa", "é", "\uffff", "\U0001f642"]
    await store.commit([thing(f"k{n}", slug=((text,),)) for n, text in enumerate(reversed(texts))])
    assert await keys(store, "slug") == [f"k{n}" for n in range(8, -1, -1)]
    numbers = [-(2**63), -1, 0, 2, 10, 2**63 - 1]
    await store.commit([thing(f"n{n}", made=((number,),)) for n, number in enumerate(numbers)])
    await store.commit([thing("n1b", made=((-1,),)), thing("text", made=(("",),))])
    assert await keys(store, "made") == ["n0", "n1", "n1b", "n2", "n3", "n4", "n5", "text"]
    assert await keys(store, "made", descending=True) == ["text", "n5", "n4", "n3", "n2", "n1b", "n1", "n0"]


async def test_a_prefix_fixes_the_leading_parts(store: Store) -> None:
    """A prefix of one or all parts selects exactly its entries."""
    await store.commit([thing(f"{a}{b}", place=((a, b),)) for a in "xyz" for b in (1, 2)])
    assert await keys(store, "place", prefix=("y",)) == ["y1", "y2"]
    assert await keys(store, "place", prefix=("y",), descending=True) == ["y2", "y1"]
    assert await keys(store, "place", prefix=("y", 2)) == ["y2"]
    assert await keys(store, "place", prefix=("Y",)) == []


async def test_below_keeps_what_is_lower_than_it(store: Store) -> None:
    """`below` bounds the first free part, with and without a prefix, in both directions."""
    await store.commit([thing(f"k{n}", made=((n,),), place=(("p", n),)) for n in range(5)])
    assert await keys(store, "made", below=3) == ["k0", "k1", "k2"]
    assert await keys(store, "made", below=3, descending=True) == ["k2", "k1", "k0"]
    assert await keys(store, "place", prefix=("p",), below=2) == ["k0", "k1"]
    assert await walk(store, Query(collection="things", index="made", below=3, limit=2)) == [["k0", "k1"], ["k2"]]


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_are_stable_under_inserts_and_deletes(store: Store, descending: bool) -> None:
    """Walking pages while records come and go meets every record that stood throughout exactly once."""
    await store.commit([thing(f"k{n:02}", place=(("p", n // 3),)) for n in range(20)])
    seen: list[str] = []
    after: tuple[Scalar, ...] | None = None
    for turn in range(100):
        query = Query(collection="things", index="place", prefix=("p",), after=after, limit=3, descending=descending)
        page = await store.find(query)
        seen += [record.key for record in page.records]
        await store.commit([thing(f"new{turn}a", place=(("p", -turn),)), thing(f"new{turn}b", place=(("p", turn),))])
        if page.records and page.records[-1].key.startswith("k"):
            await store.commit([Delete(collection="things", key=page.records[-1].key)])
        after = page.next
        if after is None:
            break
    old = [key for key in seen if key.startswith("k")]
    assert old == sorted(old, reverse=descending)
    assert len(old) == 20
    assert len(set(seen)) == len(seen)


async def test_the_last_page_has_no_next(store: Store) -> None:
    """`next` is a full entry with its key while more follows, and None when exactly all were returned."""
    await store.commit([thing(f"k{n}", place=(("p", n),)) for n in range(4)])
    page = await store.find(Query(collection="things", index="place", limit=3))
    assert page.next == ("p", 2, "k2")
    for limit in (4, sys.maxsize):
        for contains in ("", "k"):
            whole = await store.find(Query(collection="things", index="place", limit=limit, contains=contains))
            assert whole.next is None
    assert await walk(store, Query(collection="things", index="place", limit=2)) == [["k0", "k1"], ["k2", "k3"]]


async def test_a_record_without_an_entry_is_not_in_the_index(store: Store) -> None:
    """Entries may be absent or empty."""
    await store.commit([thing("a", made=()), thing("b"), thing("c", made=((1,),))])
    assert await keys(store, "made") == ["c"]


async def test_several_entries_of_one_record_follow_its_replaces(store: Store) -> None:
    """A multi-valued index holds each of a record's tuples, once, and a replace or delete leaves no old one."""
    await store.commit([thing("a", tag=(("x", 1), ("y", 1), ("x", 1))), thing("b", tag=(("x", 2),))])
    assert await keys(store, "tag") == ["a", "b", "a"]
    assert await keys(store, "tag", prefix=("x",), descending=True) == ["b", "a"]
    many = tuple((f"t{n}", n) for n in range(40))
    await store.commit(
        [Replace(collection="things", key="a", version=1, value=b"", entries={"tag": (*many, ("y", 1))})]
    )
    assert await keys(store, "tag", prefix=("x",)) == ["b"]
    assert await keys(store, "tag", prefix=("y",)) == ["a"]
    assert len(await keys(store, "tag")) == 42
    await store.commit([Delete(collection="things", key="a")])
    assert await keys(store, "tag") == ["b"]


@pytest.mark.parametrize("index", ["slug", "alias"])
async def test_a_unique_tuple_belongs_to_one_record(store: Store, index: str) -> None:
    """Insert and replace are refused with the index's name; a replace or delete sets the tuple free."""
    await store.commit([thing("a", "", **{index: (("one",),)}), thing("b", "", **{index: (("two",),)})])
    for write in (
        thing("c", "", **{index: (("one",),)}),
        Replace(collection="things", key="b", version=1, value=b"", entries={index: (("one",),)}),
    ):
        with pytest.raises(CommitConflict) as caught:
            await store.commit([write])
        assert (caught.value.reason, caught.value.index, caught.value.key) == (
            ConflictReason.UNIQUE,
            index,
            write.key,
        )
    await store.commit([Replace(collection="things", key="a", version=1, value=b"", entries={index: (("one",),)})])
    await store.commit([Replace(collection="things", key="a", version=2, value=b"", entries={index: (("three",),)})])
    await store.commit([thing("c", "", **{index: (("one",),)}), Delete(collection="things", key="c")])
    await store.commit([thing("d", "", **{index: (("one",),)})])
    assert await keys(store, index) == ["d", "a", "b"]
    assert await keys(store, index, prefix=("one",)) == ["d"]


async def test_of_two_broken_rules_the_key_comes_first_and_then_the_index_declared_first(store: Store) -> None:
    """Every store names the same reason."""
    await store.commit([thing("a", slug=(("s",),), alias=(("l",),))])
    for key, reason, index in (("a", ConflictReason.EXISTS, None), ("b", ConflictReason.UNIQUE, "slug")):
        with pytest.raises(CommitConflict) as caught:
            await store.commit([thing(key, slug=(("s",),), alias=(("l",),))])
        assert (caught.value.reason, caught.value.index) == (reason, index)


@pytest.mark.parametrize("index", ["made", "tag"])
@pytest.mark.parametrize("descending", [False, True])
async def test_a_search_looks_at_no_more_than_its_bound(store: Store, index: str, descending: bool) -> None:
    """`contains` keeps matching records; a page ends after `scan` entries and the next one goes on from there."""
    texts = ["red fish", "blue", "50% off_", "", "redder", "RED", "a.red", "none"]
    for n, text in enumerate(texts):
        entry: tuple[Scalar, ...] = (n,) if index == "made" else ("t", n)
        await store.commit([thing(f"k{n}", text, **{index: (entry,)})])
    query = Query(collection="things", index=index, contains="red", scan=3, limit=5, descending=descending)
    expected = [["k6"], ["k4"], ["k0"]] if descending else [["k0"], ["k4"], ["k6"]]
    assert await walk(store, query) == expected
    wide = Query(collection="things", index=index, contains="red", limit=2, descending=descending)
    assert await walk(store, wide) == ([["k6", "k4"], ["k0"]] if descending else [["k0", "k4"], ["k6"]])
    assert await keys(store, index, contains="%") == ["k2"]
    assert await keys(store, index, contains="_") == ["k2"]
    exact = Query(collection="things", index=index, contains="red", scan=8)
    assert (await store.find(exact)).next is None


BAD_QUERIES = [
    Query(collection="none", index="made"),
    Query(collection="things", index="none"),
    Query(collection="things", index="made", prefix=(1, 2)),
    Query(collection="things", index="made", prefix=(1,), below=2),
    Query(collection="things", index="made", after=(1,)),
    Query(collection="things", index="place", prefix=("x",), after=("y", 1, "k")),
    Query(collection="things", index="made", limit=0),
    Query(collection="things", index="made", scan=0),
    Query(collection="things", index="made", contains="\0"),
    Query(collection="things", index="made", prefix=(2**63,)),
]


@pytest.mark.parametrize("query", BAD_QUERIES, ids=range(len(BAD_QUERIES)))
async def test_a_query_that_cannot_be_answered_is_a_value_error(store: Store, query: Query) -> None:
    """Unknown names, wrong parts and bounds that leave nothing are refused."""
    with pytest.raises(ValueError, match=r"\w+ .+"):
        await store.find(query)
