"""The stores agree: any run of commits and queries gives the same answers in memory and in SQLite."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astra_core.errors import CommitConflict
from astra_core.storage import Add, Change, Delete, Forget, Insert, Publish, Query, Replace, Require, Sent, Take
from astra_core.storage.writes import Append

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.storage import MemoryStore, SqliteStore

    AnyStore: TypeAlias = MemoryStore | SqliteStore

KEYS = st.sampled_from(["a", "b", "c", "é"])
PARTS = st.one_of(st.integers(-2, 2), st.sampled_from(["", "1", "x", "é", "\U0001f642"]))
PAIRS = st.tuples(PARTS, PARTS)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "made": st.lists(st.tuples(PARTS), max_size=1).map(tuple),
        "place": st.lists(PAIRS, max_size=1).map(tuple),
        "slug": st.lists(st.tuples(PARTS), max_size=1).map(tuple),
        "tag": st.lists(PAIRS, max_size=3).map(tuple),
        "alias": st.lists(st.tuples(PARTS), max_size=2).map(tuple),
        "mark": st.lists(PAIRS, max_size=2).map(tuple),
    },
)
FIELDS: dict[str, Any] = {
    "collection": st.just("things"),
    "key": KEYS,
    "value": st.binary(max_size=2),
    "entries": ENTRIES,
    "text": st.sampled_from(["", "ab", "b"]),
}
VERSIONS = st.integers(1, 3)
CHANGES = st.builds(Change, feed=st.sampled_from("fg"), key=KEYS)
WRITES = st.one_of(
    st.builds(Insert, **FIELDS),
    st.builds(Insert, **FIELDS),
    st.builds(Replace, version=VERSIONS, **FIELDS),
    st.builds(Delete, collection=st.just("things"), key=KEYS, version=st.one_of(st.none(), VERSIONS)),
    st.builds(Require, collection=st.just("things"), key=KEYS, version=st.integers(0, 2)),
    st.builds(
        Add,
        counters=st.just("c"),
        amounts=st.dictionaries(KEYS, st.integers(-2, 3), max_size=3),
        source=st.sampled_from([None, "s", "t"]),
        position=st.integers(0, 3),
    ),
    st.builds(Take, counters=st.just("c"), key=KEYS, amount=st.integers(1, 2), at_zero=st.tuples(CHANGES)),
    st.builds(Forget, source=st.sampled_from("st")),
    CHANGES,
    st.builds(Append, stream=st.sampled_from("ef"), key=KEYS, data=st.binary(max_size=1)),
    st.builds(Publish, topic=st.just("t"), key=KEYS, data=st.binary(max_size=1), id=st.sampled_from(["", "i"])),
    st.builds(Sent, through=st.integers(0, 5)),
)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """Any query that the collection can answer."""
    indexes = [("made", 1), ("place", 2), ("slug", 1), ("tag", 2), ("alias", 1), ("mark", 2)]
    index, parts = draw(st.sampled_from(indexes))
    prefix = tuple(draw(st.lists(PARTS, min_size=index == "mark", max_size=parts)))
    free = draw(st.lists(PARTS, min_size=parts - len(prefix), max_size=parts - len(prefix)))
    return Query(
        collection="things",
        index=index,
        prefix=prefix,
        below=draw(st.one_of(st.none(), PARTS)) if len(prefix) < parts else None,
        contains=draw(st.sampled_from(["", "", "b"])),
        descending=draw(st.booleans()),
        after=draw(st.one_of(st.none(), st.just((*prefix, *free, draw(KEYS))))),
        limit=draw(st.integers(1, 4)),
        scan=draw(st.integers(1, 4)),
    )


STEPS = st.lists(
    st.one_of(
        st.lists(WRITES, min_size=1, max_size=4),
        st.lists(WRITES, min_size=1, max_size=4),
        queries(),
        st.tuples(st.just("trim"), st.sampled_from("fg"), st.integers(1, 2)),
    ),
    min_size=5,
    max_size=40,
)


async def answer(store: AnyStore, step: Any) -> Any:
    """What a store says to one step."""
    if isinstance(step, Query):
        return await store.find(step)
    if isinstance(step, tuple):
        return await store.trim(step[1], keep=step[2])
    try:
        return await store.commit(step)
    except CommitConflict as conflict:
        return conflict.reason, conflict.write, conflict.key, conflict.index


async def everything(store: AnyStore) -> list[Any]:
    """All that a store holds."""
    indexes = ("made", "place", "slug", "tag", "alias")
    return [
        [await store.get("things", key) for key in ("a", "b", "c", "é")],
        [await store.find(Query(collection="things", index=index)) for index in indexes],
        [await store.find(Query(collection="things", index="mark", prefix=(part,))) for part in (-1, 0, 1, "", "x")],
        await store.counts("c", ["a", "b", "c", "é"]),
        await store.positions(),
        [await store.changes(feed, after=after) for feed in "fg" for after in range(4)],
        [await store.events(stream, key) for stream in "ef" for key in ("a", "é")],
        await store.messages(),
        await store.waiting(),
    ]


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_memory_and_sqlite_agree_on_every_answer(opener: Callable[..., Any], steps: list[Any]) -> None:
    """Each step is answered alike, conflicts included, and in the end both hold the same."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with AsyncExitStack() as stack:
                memory = await stack.enter_async_context(opener("memory", Path(folder)))
                sqlite = await stack.enter_async_context(opener("sqlite", Path(folder)))
                for step in steps:
                    assert await answer(sqlite, step) == await answer(memory, step)
                assert await everything(sqlite) == await everything(memory)

    asyncio.run(run())
