"""Start and expiry come to stand in the history, by the sweeper, over every store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from app.domain import Delete, LinkState, Restore, recorded_state
from app.links import LINKS
from astra_core.workflow import Sweeper
from tests.contract.lives.living import CODE, CODES, KINDS, NOW, RULES, living, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.lives.living import Living

pytestmark = pytest.mark.parametrize("kind", KINDS)


def at(second: int) -> int:
    """Return a moment as links count it."""
    return (NOW + second) * 1_000_000


async def sweep(link: Living) -> int:
    """One round; returns how many links were due."""
    return await Sweeper(link.runner, link.store, clock=link.clock).round()


async def told(link: Living) -> list[tuple[str, int]]:
    """Return what happened, and in which second."""
    return [(entry.event, entry.at // 1_000_000 - NOW) for entry in await link.history()]


async def test_each_is_recorded_at_its_moment(kind: str, tmp_path: Path) -> None:
    """Not before, once, and without a new version for callers or a change for caches."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(starts_at=at(10), expires_at=at(20))
        changes = await store.tip("links")
        found = []
        for second in (5, 10, 12, 19, 20, 21):
            link.clock.step(NOW + second - link.clock.time())
            found.append(await sweep(link))
        assert found == [0, 1, 0, 0, 1, 0]
        assert await told(link) == [("made", 0), ("started", 10), ("expired", 20)]
        assert (await link.stored()).edition == 1
        assert await store.tip("links") == changes


async def test_a_sweeper_that_comes_late_records_all_at_once(kind: str, tmp_path: Path) -> None:
    """Both, each at its own moment."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(starts_at=at(10), expires_at=at(20))
        link.clock.step(1_000)
        assert (await sweep(link), await sweep(link)) == (1, 0)
        assert await told(link) == [("made", 0), ("started", 10), ("expired", 20)]


async def test_many_sweepers_record_once(kind: str, tmp_path: Path) -> None:
    """Two may believe for a moment that they lead."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(starts_at=at(10))
        link.clock.step(10)
        await asyncio.gather(*[sweep(link) for _ in range(8)])
        assert await told(link) == [("made", 0), ("started", 10)]


async def test_a_moved_time_is_the_one_that_counts(kind: str, tmp_path: Path) -> None:
    """An edit takes the old one away; so do deletion and, until it is restored, all that is due meanwhile."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(expires_at=at(10))
        await link.manager.patch(CODE, {"expires_at": at(30)}, rules=RULES, versions=None)
        link.clock.step(15)
        assert await sweep(link) == 0
        await link.manager.move(CODE, Delete())
        link.clock.step(16)
        assert await sweep(link) == 0
        assert (await link.manager.move(CODE, Restore())).state(link.now) is LinkState.EXPIRED
        assert [event for event, _ in await told(link)] == ["made", "edited", "deleted", "restored"]


async def test_links_without_times_are_not_looked_at(kind: str, tmp_path: Path) -> None:
    """Neither when they are made nor later."""
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(max_visits=3)
        await link.manager.patch(CODE, {"title": "t"}, rules=RULES, versions=None)
        link.clock.step(10**6)
        assert await sweep(link) == 0


async def test_what_is_due_survives_a_restart(kind: str, tmp_path: Path) -> None:
    """It is in the record; whoever opens the store next finds it."""
    if kind == "memory":
        pytest.skip("memory does not outlive its process")
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await link.make(starts_at=at(10), expires_at=at(20))
    async with open_store(kind, tmp_path) as store, living(store) as link:
        link.clock.step(15)
        assert await sweep(link) == 1
        assert recorded_state((await link.stored()).link) is LinkState.ACTIVE
    async with open_store(kind, tmp_path) as store, living(store) as link:
        link.clock.step(25)
        assert await sweep(link) == 1
        assert await told(link) == [("made", 0), ("started", 10), ("expired", 20)]
        assert (await store.get(LINKS.name, CODES.sort_key(CODE))) is not None
