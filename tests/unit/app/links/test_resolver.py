"""From a path to a link: what is cached, for how long, and what happens when the store is away."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from app.links import LinkRepository, Resolver
from app.links.entry import GONE, Entry
from astra_core.errors import StoreUnavailable
from astra_core.resilience import DeadlineExceeded, DeadlineParameters, Deadlines, Policy, Sweep
from astra_core.storage import guarded
from astra_core.testing import FakeClock
from tests.unit.app.links.doubles import Store, create, link, replace, turns

TTL = 5.0


class World:
    """A store with one link, and a resolver over it."""

    def __init__(self, *, capacity: int = 10) -> None:
        self.store = Store()
        self.clock = FakeClock()
        self.resolver = Resolver(
            LinkRepository(self.store), clock=self.clock, capacity=capacity, negative_capacity=10, ttl=TTL
        )

    async def location(self, code: str) -> bytes | None:
        """Resolve a code to where it leads."""
        entry = await self.resolver.resolve("/" + code)
        return None if entry is None else entry.location

    def poll(self, seconds: float = 0.0) -> None:
        """Let time pass and a look at the changes fail."""
        self.clock.advance(seconds)
        self.resolver.feed_is_healthy(False)


@pytest.fixture
async def world() -> World:
    """Return a world in which `abc` is a link."""
    world = World()
    await world.store.open()
    await create(world.store, link("abc"))
    return world


async def test_a_link_is_read_once(world: World) -> None:
    """Later resolves answer from memory, for as long as changes arrive."""
    for _ in range(3):
        assert await world.location("abc") == b"https://example.com/abc"
        world.clock.advance(1e6)
    assert (world.store.reads, world.resolver.misses, world.resolver.hits) == (1, 1, 2)


async def test_concurrent_misses_share_one_read(world: World) -> None:
    """However many ask, the store is asked once."""
    world.store.hold()
    asking = [asyncio.create_task(world.location("abc")) for _ in range(50)]
    await turns()
    world.store.release()
    assert set(await asyncio.gather(*asking)) == {b"https://example.com/abc"}
    assert (world.store.reads, world.resolver.joins) == (1, 49)


async def test_who_waits_longer_is_not_held_to_the_first_ones_deadline(world: World) -> None:
    """Each gives up in its own time, and the read when the store's own deadline is over."""
    sweep = Sweep(clock=world.clock)
    reads = Policy(name="reads", deadline=Deadlines("reads", sweep=sweep, parameters=DeadlineParameters(budget=1.0)))
    store = guarded(world.store, reads=reads, writes=reads)
    resolver = Resolver(LinkRepository(store), clock=world.clock, capacity=10, negative_capacity=10, ttl=TTL)
    requests = Deadlines("request", sweep=sweep)

    async def ask(budget: float) -> Entry | None:
        async with requests.scope(budget):
            return await resolver.resolve("/abc")

    world.store.hold()
    hasty, patient = (asyncio.create_task(ask(budget)) for budget in (0.1, 4.0))
    await world.clock.run_for(0.4)
    assert isinstance(hasty.exception(), DeadlineExceeded)
    world.store.release()
    entry = await patient
    assert entry is not None
    assert entry.location == b"https://example.com/abc"
    resolver.clear()
    world.store.hold()
    patient = asyncio.create_task(ask(4.0))
    await world.clock.run_for(1.1)
    assert isinstance(patient.exception(), StoreUnavailable)
    assert (world.store.reads, resolver.joins) == (2, 1)


async def test_an_unknown_code_is_remembered_until_it_is_created(world: World) -> None:
    """The negative cache answers until the news of the creation comes."""
    for _ in range(3):
        assert await world.location("new") is None
    assert (world.store.reads, world.resolver.unknown) == (1, 2)
    await create(world.store, link("new"))
    assert await world.location("new") is None
    world.resolver.apply("new")
    assert await world.location("new") == b"https://example.com/new"


@pytest.mark.parametrize("news", ["apply", "clear"])
@pytest.mark.parametrize("known", [True, False])
async def test_a_read_overtaken_by_a_change_is_not_kept(world: World, news: str, known: bool) -> None:
    """What was read before the change goes to those who asked before it, and to nobody later; found or not found."""
    code = "abc" if known else "new"
    world.store.hold()
    early = asyncio.create_task(world.location(code))
    await turns()
    world.store.release()
    if known:
        await replace(world.store, code, url="https://example.com/other")
    else:
        await create(world.store, link(code, url="https://example.com/other"))
    world.store.hold()
    if news == "apply":
        world.resolver.apply(code)
    else:
        world.resolver.clear()
    late = asyncio.create_task(world.location(code))
    await turns()
    world.store.release()
    assert await early == (b"https://example.com/abc" if known else None)
    assert await late == b"https://example.com/other"
    assert await world.location(code) == b"https://example.com/other"


async def test_a_late_read_does_not_undo_a_newer_one(world: World) -> None:
    """The overtaken read may even end last."""
    world.store.hold()
    early = asyncio.create_task(world.location("abc"))
    await turns()
    held, world.store._go = world.store._go, asyncio.Event()
    world.store.release()
    await replace(world.store, "abc", url="https://example.com/other")
    world.resolver.apply("abc")
    assert await world.location("abc") == b"https://example.com/other"
    held.set()
    await early
    assert await world.location("abc") == b"https://example.com/other"


async def test_a_change_of_another_code_leaves_a_read_alone(world: World) -> None:
    """Only the code that changed is read again."""
    world.store.hold()
    reading = asyncio.create_task(world.location("abc"))
    await turns()
    world.resolver.apply("abd")
    world.store.release()
    await reading
    await world.location("abc")
    assert world.store.reads == 1


async def test_without_news_entries_live_for_the_ttl(world: World) -> None:
    """Known and unknown codes are read again once they are older; when news come again they live on."""
    await world.location("abc")
    await world.location("new")
    world.poll(TTL - 0.1)
    await world.location("abc")
    await world.location("new")
    assert world.store.reads == 2
    world.poll(0.2)
    await world.location("abc")
    await world.location("new")
    assert world.store.reads == 4
    world.resolver.feed_is_healthy(True)
    world.clock.advance(100 * TTL)
    await world.location("abc")
    await world.location("new")
    assert world.store.reads == 4


async def test_without_news_a_deleted_link_is_found_out_by_the_ttl(world: World) -> None:
    """The read that replaces an entry may find that the link is gone for good."""
    await world.location("abc")
    world.resolver._links = LinkRepository(empty := Store())
    await empty.open()
    world.poll(TTL + 1)
    assert await world.location("abc") is None
    assert "/abc" not in world.resolver.entries


async def test_with_the_store_away_known_links_go_on(world: World) -> None:
    """They are served as they were; a code that nobody knows is an error, not a 404."""
    await world.location("abc")
    await world.location("new")
    world.store.away = True
    world.poll(TTL + 1)
    assert await world.location("abc") == b"https://example.com/abc"
    assert world.resolver.stale == 1
    for unknown in ("never", "new"):
        with pytest.raises(StoreUnavailable):
            await world.location(unknown)


@pytest.mark.parametrize("poll", [0.05, 0.3, 1.05])
async def test_a_store_in_trouble_is_asked_once_a_second_for_a_key(world: World, poll: float) -> None:
    """However often the key is asked for, and however far the failing looks at the feed lie apart."""
    await world.location("abc")
    world.store.away = True
    world.poll(TTL + 1)
    asked: list[float] = []
    next_poll = world.clock.monotonic() + poll
    for _ in range(1000):
        world.clock.advance(0.01)
        if world.clock.monotonic() >= next_poll:
            world.poll()
            next_poll += poll
        before = world.store.reads
        assert await world.location("abc") == b"https://example.com/abc"
        if world.store.reads > before:
            asked.append(world.clock.monotonic())
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert min(gaps) >= 0.99
    assert max(gaps) <= 1.0 + 2 * poll
    world.store.away = False
    world.poll(1.1)
    stale = world.resolver.stale
    await world.location("abc")
    assert world.resolver.stale == stale


async def test_a_second_is_a_second_whenever_the_feed_was_looked_at(world: World) -> None:
    """A look at the feed just after a failed read does not make the same key ask again."""
    await world.location("abc")
    world.store.away = True
    world.poll(TTL + 1)
    world.clock.advance(0.9)
    await world.location("abc")
    world.poll(0.2)
    reads = world.store.reads
    await world.location("abc")
    assert world.store.reads == reads


async def test_a_change_beats_a_failed_read(world: World) -> None:
    """An entry that was dropped while its read failed does not come back."""
    await world.location("abc")
    world.poll(TTL + 1)
    world.store.hold()
    asking = asyncio.create_task(world.location("abc"))
    await turns()
    world.store.away = True
    world.resolver.apply("abc")
    world.store.release()
    await asking
    assert "/abc" not in world.resolver.entries
    with pytest.raises(StoreUnavailable):
        await world.location("abc")


async def test_a_limited_link_is_gone_when_its_visits_are_used_up(world: World) -> None:
    """What remains is read with the link."""
    await create(world.store, link("two", max_visits=2))
    entry = await world.resolver.resolve("/two")
    assert entry is not None
    assert not entry.kind & GONE
    await replace(world.store, "two", max_visits=0)
    world.resolver.apply("two")
    entry = await world.resolver.resolve("/two")
    assert entry is not None
    assert entry.kind & GONE


async def test_without_a_cache_every_resolve_reads(world: World) -> None:
    """A capacity of zero switches it off, and nothing breaks."""
    bare = World(capacity=0)
    bare.resolver._links = world.resolver._links
    for _ in range(3):
        assert await bare.location("abc") == b"https://example.com/abc"
    assert world.store.reads == 3
    assert "misses=3" in repr(bare.resolver)
