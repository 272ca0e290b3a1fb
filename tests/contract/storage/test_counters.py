"""Counters: exact sums, idempotent sources, takes that never overshoot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from astra_core.errors import CommitConflict, ConflictReason, StorageError
from astra_core.storage import Add, Change, Forget, Take

if TYPE_CHECKING:
    from astra_core.storage import ChangesFeed, Store


async def test_an_add_of_one_counter_results_in_its_balance(store: Store) -> None:
    """A counter begins at 0, takes negative amounts, and belongs to its set alone."""
    assert await store.commit([Add(counters="c", amounts={"a": 5})]) == (5,)
    assert await store.commit([Add(counters="c", amounts={"a": -7})]) == (-2,)
    assert await store.commit([Add(counters="d", amounts={"a": 1})]) == (1,)
    assert await store.counts("c", ["x", "a"]) == {"x": 0, "a": -2}
    assert list(await store.counts("c", ["x", "a"])) == ["x", "a"]


async def test_an_add_of_several_results_in_their_number(store: Store) -> None:
    """Every counter of a large add is moved, whatever its name holds."""
    names = [f"k{n}" for n in range(500)] + ["quote\"'", "back\\slash", "tab\t", "é🙂", "", "$.a", "[0]"]
    assert await store.commit([Add(counters="c", amounts=dict.fromkeys(names, 2))]) == (507,)
    assert await store.commit([Add(counters="c", amounts={name: n for n, name in enumerate(names)})]) == (507,)
    assert await store.counts("c", names) == {name: n + 2 for n, name in enumerate(names)}
    assert await store.commit([Add(counters="c", amounts={})]) == (0,)


async def test_a_source_is_counted_once_a_position(store: Store) -> None:
    """At or below the stored position an add does nothing; above it, it adds and stores the position."""
    add = Add(counters="c", amounts={"a": 1, "b": 1}, source="s", position=10)
    assert await store.commit([add]) == (2,)
    assert await store.commit([add]) == (0,)
    assert await store.commit([Add(counters="c", amounts={"a": 1, "b": 1}, source="s", position=9)]) == (0,)
    assert await store.commit([Add(counters="c", amounts={"a": 1}, source="s", position=11)]) == (2,)
    assert await store.commit([Add(counters="c", amounts={"a": 1}, source="s", position=11)]) == (2,)
    assert await store.commit([Add(counters="c", amounts={}, source="t", position=0)]) == (0,)
    assert await store.counts("c", ["a", "b"]) == {"a": 2, "b": 1}
    assert await store.positions() == {"s": 11, "t": 0}


async def test_a_forgotten_source_begins_anew(store: Store) -> None:
    """Forget drops the position; forgetting an unknown source is no fault."""
    add = Add(counters="c", amounts={"a": 1}, source="s", position=1)
    assert await store.commit([add, Forget(source="s"), Forget(source="other"), add]) == (1, 0, 0, 2)
    assert await store.positions() == {"s": 1}
    await store.commit([Forget(source="s")])
    assert await store.positions() == {}


async def test_sixty_four_concurrent_takes_never_overshoot(store: Store) -> None:
    """Of 64 takes from 40, 40 succeed with every balance once, 24 are refused, and one change is appended."""
    await store.commit([Add(counters="left", amounts={"k": 40})])
    take = Take(counters="left", key="k", at_zero=(Change(feed="f", key="k"),))
    done = await asyncio.gather(*(store.commit([take]) for _ in range(64)), return_exceptions=True)
    taken = sorted(result[0] for result in done if isinstance(result, tuple))
    refused = [result for result in done if isinstance(result, CommitConflict)]
    assert taken == list(range(40))
    assert {(conflict.reason, conflict.key) for conflict in refused} == {(ConflictReason.EXHAUSTED, "k")}
    assert len(refused) == 24
    assert await store.counts("left", ["k"]) == {"k": 0}
    feed: ChangesFeed = store  # type: ignore[assignment]
    assert (await feed.changes("f", after=0)).keys == ("k",)


async def test_a_take_larger_than_the_balance_takes_nothing(store: Store) -> None:
    """A counter never written is empty, and a refused take leaves the balance."""
    with pytest.raises(CommitConflict):
        await store.commit([Take(counters="c", key="never")])
    await store.commit([Add(counters="c", amounts={"k": 3})])
    with pytest.raises(CommitConflict):
        await store.commit([Take(counters="c", key="k", amount=4)])
    assert await store.commit([Take(counters="c", key="k", amount=3)]) == (0,)


@pytest.mark.parametrize("others", [{}, {"other": 1}])
async def test_a_balance_beyond_64_bits_is_an_error_and_nothing_is_kept(store: Store, others: dict[str, int]) -> None:
    """A sum that no engine can hold fails its commit instead of losing digits."""
    await store.commit([Add(counters="c", amounts={"k": 2**63 - 1})])
    with pytest.raises(StorageError):
        await store.commit([Add(counters="c", amounts={**others, "k": 1})])
    assert await store.counts("c", ["k", "other"]) == {"k": 2**63 - 1, "other": 0}
