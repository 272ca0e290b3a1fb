"""Coherence: what other processes changed is dropped here, and silence is noticed."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest

from app.links import FEED, Follower, LinkRepository, Resolver
from astra_core.errors import StoreUnavailable
from astra_core.testing import FakeClock
from tests.unit.app.links.doubles import Store, change, create, link, replace, turns

if TYPE_CHECKING:
    from astra_core.storage import Changes


class World:
    """A store, and a process that follows it."""

    def __init__(self) -> None:
        self.store = Store()
        self.clock = FakeClock()
        self.resolver = Resolver(
            LinkRepository(self.store), clock=self.clock, capacity=1000, negative_capacity=10, ttl=5.0
        )
        self.follower = Follower(self.store, self.resolver, name=FEED, keep=50, clock=self.clock)

    def cached(self, *codes: str) -> list[bool]:
        """Return which codes are in the cache."""
        return ["/" + code in self.resolver.entries for code in codes]


@pytest.fixture
async def world() -> World:
    """Return a world with two links that the process has cached."""
    world = World()
    await world.store.open()
    await create(world.store, link("abc"), link("def"))
    await world.follower.open()
    await world.resolver.resolve("/abc")
    await world.resolver.resolve("/def")
    return world


async def test_only_what_changed_is_dropped(world: World) -> None:
    """By code, from the entries and from the unknown alike."""
    assert await world.resolver.resolve("/new") is None
    await replace(world.store, "abc", title="other")
    await create(world.store, link("new"))
    await world.follower.follow()
    assert world.cached("abc", "def") == [False, True]
    assert await world.resolver.resolve("/new") is not None
    assert (world.follower.seq, world.follower.gaps, world.follower.healthy) == (4, 0, True)


async def test_a_change_made_and_applied_here_is_not_read_again(world: World) -> None:
    """If it is the next one; behind somebody else's, which nobody here knows, all are read."""
    await create(world.store, link("own"))
    world.follower.applied(3)
    await world.resolver.resolve("/own")
    await world.follower.follow()
    assert (world.cached("abc", "own"), world.follower.seq) == ([True, True], 3)
    await replace(world.store, "abc", title="by another process")
    await create(world.store, link("late"))
    world.follower.applied(5)
    assert world.follower.seq == 3
    await world.follower.follow()
    assert (world.cached("abc", "own"), world.follower.seq) == ([False, True], 5)


async def test_what_is_applied_while_others_are_read_stays_applied(world: World) -> None:
    """The reading began before it and knows nothing of it."""
    changes, seen = world.store.changes, list[int]()

    async def slowly(feed: str, *, after: int, limit: int = 1000) -> Changes:
        news = await changes(feed, after=after, limit=limit)
        if len(seen) == 1:
            await create(world.store, link("own"))
            world.follower.applied(4)
        seen.append(after)
        return news

    world.store.changes = slowly  # type: ignore[method-assign]
    await create(world.store, link("other"))
    await world.follower.follow()
    assert (seen, world.follower.seq) == ([2, 3], 4)
    await create(world.store, link("next"))
    await world.follower.follow()
    assert (seen, world.follower.seq) == ([2, 3, 4, 5], 5)


async def test_nothing_older_than_the_start_is_read(world: World) -> None:
    """Opening goes to the end of the feed, since nothing is cached yet."""
    assert world.follower.seq == 2
    reads = world.store.reads
    await world.follower.follow()
    assert world.cached("abc", "def") == [True, True]
    assert world.store.reads == reads


async def test_more_changes_than_one_read_holds_are_all_applied(world: World) -> None:
    """One look goes on until nothing is left."""
    codes = [f"c{number:03}" for number in range(450)]
    await create(world.store, *map(link, codes))
    for code in codes:
        await world.resolver.resolve("/" + code)
    await change(world.store, *codes)
    await world.follower.follow()
    assert not any(world.cached(*codes))
    assert world.follower.seq == 2 + 900


async def test_a_gap_clears_everything(world: World) -> None:
    """What was trimmed before it was read may have been any code."""
    await change(world.store, *(f"x{number}" for number in range(120)))
    await world.store.trim(FEED, keep=1)
    await world.follower.follow()
    assert world.cached("abc", "def") == [False, False]
    assert world.follower.gaps == 1
    await world.resolver.resolve("/abc")
    await change(world.store, "def")
    await world.follower.follow()
    assert world.cached("abc") == [True]
    assert world.follower.gaps == 1


async def test_the_feed_is_trimmed_now_and_then(world: World) -> None:
    """Every thousand changes, down to what is to be kept."""
    for _ in range(5):
        await change(world.store, *("abc" for _ in range(240)))
        await world.follower.follow()
    assert world.store.trims == 1
    assert len(world.store._feeds[FEED]) <= 50 + 240
    assert world.follower.gaps == 0


async def test_a_store_that_takes_no_trim_is_no_silent_feed(world: World) -> None:
    """On a full disk the changes were read all the same: entries need no TTL."""
    world.store.refuses_trims = True
    await change(world.store, *("abc" for _ in range(1_200)))
    await world.follower.follow()
    assert world.store.trims == 1
    assert world.follower.healthy
    assert world.resolver.fresh_after == -math.inf


async def test_silence_starts_the_ttl_and_the_first_word_catches_up(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """While looks fail entries age; afterwards everything missed is applied before they are trusted again."""
    task = asyncio.create_task(world.follower.run())
    await world.clock.run_for(0.1)
    assert world.resolver.fresh_after == -math.inf
    world.store.away = True
    seen = world.clock.monotonic()
    await world.clock.run_for(1.0)
    assert world.resolver.fresh_after == pytest.approx(world.clock.monotonic() - 5.0)
    assert world.follower.lag_since == pytest.approx(seen)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    await change(world.store, "abc")
    await world.clock.run_for(1.0)
    assert world.cached("abc", "def") == [True, True]
    world.store.away = False
    await world.clock.run_for(0.1)
    assert world.cached("abc", "def") == [False, True]
    assert world.resolver.fresh_after == -math.inf
    assert world.follower.healthy
    task.cancel()
    await asyncio.wait([task])


async def test_a_failing_catch_up_leaves_nothing_out(world: World) -> None:
    """Changes that could not be read are read by the next look, even when nothing moved since."""
    await change(world.store, "abc")

    class Failing(Store):
        async def changes(self, feed: str, *, after: int, limit: int = 1000) -> object:  # type: ignore[override]
            raise StoreUnavailable("away")

    whole = world.follower._feed
    world.follower._feed = failing = Failing()  # type: ignore[assignment]
    await failing.open()
    with pytest.raises(StoreUnavailable):
        await world.follower.follow()
    world.follower._feed = whole
    await world.follower.follow()
    assert world.cached("abc") == [False]


async def test_after_a_silence_the_changes_are_read_whatever_the_store_says(world: World) -> None:
    """A new connection may count its commits from where the old one stood, by chance."""
    world.follower._looked(healthy=False)
    await change(world.store, "abc")
    world.store._commits -= 1
    await world.follower.follow()
    assert world.cached("abc") == [False]


async def test_an_unexpected_error_is_logged_and_followed_by_the_next_look(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The task never dies; meanwhile entries have their TTL."""
    whole = world.follower._feed
    world.follower._feed = None  # type: ignore[assignment]
    task = asyncio.create_task(world.follower.run())
    await world.clock.run_for(0.05)
    assert "following changes" in caplog.text
    assert not world.follower.healthy
    world.follower._feed = whole
    await world.clock.run_for(0.05)
    await turns()
    assert "healthy=True" in repr(world.follower)
    task.cancel()
    await asyncio.wait([task])
