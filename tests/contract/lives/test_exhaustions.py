"""A limit that is used up comes to stand in the history, once, over every store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from app.domain import Delete, Disable, Restore
from app.links import EXHAUSTED, REMAINING, Exhaustions
from astra_core.errors import CommitConflict
from astra_core.storage import Change, Take
from tests.contract.lives.living import CODE, KINDS, RULES, living, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from astra_core.storage import StoreEngine
    from tests.contract.lives.living import Living

pytestmark = pytest.mark.parametrize("kind", KINDS)


async def visit(link: Living) -> int | None:
    """Take a visit in one commit, as the redirect path does; returns what is left, None when it was refused."""
    try:
        (left,) = await link.store.commit(
            [Take(counters=REMAINING, key=CODE, at_zero=(Change(feed=EXHAUSTED, key=CODE),))]
        )
    except CommitConflict:
        return None
    return left


def follower(link: Living) -> Exhaustions:
    """One as each process has."""
    return Exhaustions(link.store, link.runner, clock=link.clock)


async def told(link: Living) -> list[tuple[str, str]]:
    """Return what happened, and who did it."""
    return [(entry.event, entry.by) for entry in await link.history()]


async def until_kept(store: StoreEngine) -> None:
    """Wait until the store knows how far the feed was followed."""
    async with asyncio.timeout(10):
        while not await store.positions():  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.001)


async def test_the_last_visit_is_told_once_by_whoever_follows(kind: str, tmp_path: Path) -> None:
    """However many look, at once or again; and the version that callers know stays."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(max_visits=3)
        assert [await visit(link) for _ in range(4)] == [2, 1, 0, None]
        link.clock.step(2)
        assert await asyncio.gather(*[follower(link).follow(0) for _ in range(4)]) == [1] * 4
        await follower(link).follow(0)
        assert await told(link) == [("made", "anonymous"), ("exhausted", "limit")]
        assert (await link.history())[-1].at == link.now
        assert (await link.stored()).edition == 1


async def test_visits_that_leave_some_are_not_told(kind: str, tmp_path: Path) -> None:
    """Only the last one appends to the feed."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(max_visits=3)
        await visit(link)
        assert await follower(link).follow(0) == 0
        assert await told(link) == [("made", "anonymous")]


async def test_a_follower_goes_on_where_another_one_was(kind: str, tmp_path: Path) -> None:
    """Where it has come to is in the store: after a change of the leader nothing is lost, nor looked at twice."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(max_visits=1)
        await visit(link)
        first, second = follower(link), follower(link)
        for one in (first, second):
            running = asyncio.create_task(one.run())
            await until_kept(store)
            for _ in range(20):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait((running,))
        assert (first.looked, second.looked) == (1, 0)


async def test_a_store_that_was_put_back_is_followed_again(kind: str, tmp_path: Path) -> None:
    """A position ahead of the feed is that of another time: it is taken back, and what comes is told."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(max_visits=1)
        one = follower(link)
        position = await one.follow(99)
        assert position == 0
        await visit(link)
        assert await one.follow(position) == 1
        assert await told(link) == [("made", "anonymous"), ("exhausted", "limit")]
        assert list((await store.positions()).values()) == [1]


async def test_a_limit_used_up_again_is_told_again(kind: str, tmp_path: Path) -> None:
    """A raised limit makes it run; each end is an event."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(max_visits=1)
        one, position = follower(link), 0
        for limit in (2, 3):
            await visit(link)
            position = await one.follow(position)
            await link.manager.patch(CODE, {"max_visits": limit}, rules=RULES, versions=None)
        assert [event for event, _ in await told(link)] == ["made", "exhausted", "edited", "exhausted", "edited"]


async def test_a_change_that_comes_first_records_it(kind: str, tmp_path: Path) -> None:
    """Disabled before anybody looked: it was exhausted before, in the same commit, and the look finds nothing to do."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(max_visits=1)
        await visit(link)
        await link.manager.move(CODE, Disable())
        await follower(link).follow(0)
        assert [event for event, _ in await told(link)] == ["made", "exhausted", "disabled"]


async def test_a_lowered_limit_and_a_visit_between_are_told(kind: str, tmp_path: Path) -> None:
    """A visit that came between the decision and its commit was the last one, and did not know."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(max_visits=3)
        standing = await link.runner.get(CODE)
        assert standing is not None
        await visit(link)
        # What the manager decides on 3 left, it commits on 2.
        link.manager._links = Stale(link.links, 3)  # type: ignore[assignment]
        await link.manager.patch(CODE, {"max_visits": 1}, rules=RULES, versions=None)
        await follower(link).follow(0)
        assert [event for event, _ in await told(link)] == ["made", "edited", "exhausted"]
        assert await link.runner.replay(CODE) is await link.shown()


class Stale:
    """Reads that are a visit behind."""

    def __init__(self, links: object, left: int) -> None:
        self._links = links
        self._left = left

    def __getattr__(self, name: str) -> object:
        return getattr(self._links, name)

    async def remaining(self, codes: list[str]) -> dict[str, int]:
        """Return what was left before."""
        return dict.fromkeys(codes, self._left)


async def test_a_link_that_is_gone_meanwhile_is_passed_over(kind: str, tmp_path: Path) -> None:
    """Deleted: nothing more happens to it until it is restored, used up. Unknown: nothing."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(max_visits=1)
        await store.commit([Change(feed=EXHAUSTED, key="nobody")])
        await visit(link)
        await link.manager.move(CODE, Delete())
        assert await follower(link).follow(0) == 2
        await link.manager.move(CODE, Restore())
        assert [(entry.event, entry.after) for entry in await link.history()][-1] == ("restored", "exhausted")
