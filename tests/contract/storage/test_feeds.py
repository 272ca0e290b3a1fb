"""The changes feed, events and messages: numbers, order, gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest

from astra_core.errors import CommitConflict
from astra_core.storage import Append, Change, Changes, Event, Insert, Message, Publish, Require, Sent

if TYPE_CHECKING:
    from astra_core.storage import MemoryStore, SqliteStore

    AnyStore: TypeAlias = MemoryStore | SqliteStore


async def test_changes_are_read_in_pages_from_a_number_on(store: AnyStore) -> None:
    """Each change has its number in its feed, and reading goes on from `seq`."""
    assert await store.tip("f") == 0
    assert await store.changes("f", after=0) == Changes((), 0)
    results = await store.commit(
        [Change(feed="f", key="a"), Change(feed="g", key="x"), Change(feed="f", key="b"), Change(feed="f", key="a")]
    )
    assert results == (1, 1, 2, 3)
    assert await store.tip("f") == 3
    assert await store.changes("f", after=0, limit=2) == Changes(("a", "b"), 2)
    assert await store.changes("f", after=2, limit=2) == Changes(("a",), 3)
    assert await store.changes("f", after=3) == Changes((), 3)
    assert await store.changes("g", after=0) == Changes(("x",), 1)


async def test_a_reader_behind_the_trim_is_told_of_the_gap(store: AnyStore) -> None:
    """Trim keeps the newest; whoever missed a dropped change gets a gap and the tip, nobody else does."""
    await store.commit([Change(feed="f", key=f"k{n}") for n in range(10)])
    await store.commit([Change(feed="g", key="other")])
    assert await store.trim("f", keep=3) == 7
    assert await store.trim("f", keep=3) == 0
    assert await store.changes("f", after=6) == Changes((), 10, gap=True)
    assert await store.changes("f", after=7) == Changes(("k7", "k8", "k9"), 10)
    assert await store.changes("g", after=0) == Changes(("other",), 1)
    assert await store.trim("f", keep=1) == 2
    assert await store.commit([Change(feed="f", key="k10")]) == (11,)
    assert await store.changes("f", after=9) == Changes(("k9", "k10"), 11)


async def test_a_reader_ahead_of_the_feed_is_told_of_the_gap(store: AnyStore) -> None:
    """A feed that went back behind the reader, as a restored backup does, is a gap."""
    await store.commit([Change(feed="f", key="a")])
    assert await store.changes("f", after=5) == Changes((), 1, gap=True)
    assert await store.changes("never", after=5) == Changes((), 0, gap=True)


async def test_the_moved_number_differs_after_every_commit(store: AnyStore) -> None:
    """Without a commit the number stands still; after one it differs."""
    await store.commit([Change(feed="f", key="a")])
    before = await store.moved()
    assert await store.moved() == before
    await store.get("plain", "x")
    await store.tip("f")
    assert await store.moved() == before
    await store.commit([Insert(collection="plain", key="x", value=b"")])
    assert await store.moved() != before


async def test_events_are_numbered_from_one_an_entity(store: AnyStore) -> None:
    """Each stream and key counts by itself, in one commit and over several."""
    first = [Append(stream="s", key="a", data=b"1"), Append(stream="s", key="b", data=b"x")]
    assert await store.commit([*first, Append(stream="s", key="a", data=b"2")]) == (1, 1, 2)
    assert await store.commit([Append(stream="s", key="a", data=b"3"), Append(stream="t", key="a", data=b"")]) == (3, 1)
    assert await store.events("s", "a") == (Event(1, b"1"), Event(2, b"2"), Event(3, b"3"))
    assert await store.events("s", "a", after=1, limit=1) == (Event(2, b"2"),)
    assert await store.events("s", "none") == ()


async def test_messages_are_numbered_in_the_order_of_commits(store: AnyStore) -> None:
    """The outbox is read from a number on, oldest first."""
    (one,) = await store.commit([Publish(topic="t", key="a", data=b"1")])
    two, three = await store.commit([Publish(topic="u", key="b", data=b"2"), Publish(topic="t", key="a", data=b"3")])
    assert 0 < one < two < three
    assert await store.messages() == (
        Message(one, "t", "a", b"1"),
        Message(two, "u", "b", b"2"),
        Message(three, "t", "a", b"3"),
    )
    assert await store.messages(after=one, limit=1) == (Message(two, "u", "b", b"2"),)


async def test_numbers_that_are_none_are_a_value_error(store: AnyStore) -> None:
    """Negative numbers, limits below 1 and a trim that would keep nothing are refused."""
    with pytest.raises(ValueError, match="follows"):
        await store.changes("f", after=-1)
    with pytest.raises(ValueError, match="limit"):
        await store.events("s", "k", limit=0)
    with pytest.raises(ValueError, match="64 bits"):
        await store.messages(after=2**63)
    with pytest.raises(ValueError, match="limit"):
        await store.trim("f", keep=0)


async def test_a_name_that_cannot_be_stored_is_a_value_error(store: AnyStore) -> None:
    """Whoever asks for it made a mistake; that nothing is there would be no answer."""
    with pytest.raises(ValueError, match="NUL"):
        await store.tip("a\0b")
    with pytest.raises(ValueError, match="NUL"):
        await store.changes("a\0b", after=0)
    with pytest.raises(ValueError, match="NUL"):
        await store.trim("a\0b", keep=1)
    with pytest.raises(ValueError, match="NUL"):
        await store.events("a\0b", "k")
    with pytest.raises(ValueError, match="NUL"):
        await store.events("s", "a\0b")


async def test_messages_that_were_sent_leave_the_outbox_and_their_numbers_do_not_come_again(store: AnyStore) -> None:
    """What lies up to the number goes, the rest stays; sending it again is nothing, and an id is kept."""
    waiting = [Publish(topic="t", key=key, data=b"", id=f"id-{key}") for key in "abc"]
    one, two, three = await store.commit(waiting)
    assert await store.commit([Sent(through=two)]) == (2,)
    assert await store.commit([Sent(through=one)]) == (0,)
    assert await store.messages() == (Message(three, "t", "c", b"", "id-c"),)
    assert await store.commit([Sent(through=three)]) == (1,)
    (four,) = await store.commit([Publish(topic="t", key="d", data=b"")])
    assert four > three
    assert await store.messages() == (Message(four, "t", "d", b"", ""),)


async def test_the_outbox_says_how_many_wait(store: AnyStore) -> None:
    """Messages count from their commit until they were sent; those of a refused commit never do."""
    assert await store.waiting() == 0
    waiting = [Publish(topic="t", key=key, data=b"") for key in "abc"]
    (_, two, _) = await store.commit(waiting)
    with pytest.raises(CommitConflict):
        await store.commit([*waiting, Require(collection="plain", key="x", version=1)])
    await store.commit(waiting)
    assert await store.waiting() == 6
    await store.commit([Sent(through=two)])
    assert await store.waiting() == 4
