from __future__ import annotations

import asyncio
import base64
import logging
import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from app.codes import base62
from app.codes.errors import CodeKeyMismatch, CodesExhausted
from app.codes.factory import BLOCK, REGION_CODES, CodeFactory
from app.codes.key import SYSTEM
from app.codes.permutation import CODE_COUNT, Permutation
from app.codes.scheme import SCHEME
from app.domain.rules import is_reserved
from astra_core.errors import ConfigError, StoreUnavailable
from astra_core.resilience import DeadlineExceeded, Deadlines, Policy, Sweep
from astra_core.storage import guarded
from astra_core.storage.memory import MemoryStore
from astra_core.storage.writes import Add, Insert
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from astra_core.storage.writes import Write

KEY = b"0123456789abcdef0123456789abcdef"
PERMUTATION = Permutation(KEY, rounds=SCHEME.rounds, lead=SCHEME.lead)


class Switchable(MemoryStore):
    """A store that counts its commits, can be away, and slow: before a commit (gate) or to answer one (hold)."""

    def __init__(self) -> None:
        super().__init__(collections=[SYSTEM])
        self.commits = 0
        self.away = False
        self.gate: asyncio.Event | None = None
        self.hold: asyncio.Event | None = None

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Wait at the gate, refuse when away, else commit; keep the answer of one commit back."""
        self.commits += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise StoreUnavailable("away", retry_after=5)
        results = await super().commit(writes)
        hold, self.hold = self.hold, None
        if hold is not None:
            await hold.wait()
        return results


@pytest.fixture
async def store() -> AsyncIterator[Switchable]:
    """An open store."""
    store = Switchable()
    await store.open()
    yield store
    await store.close()


async def opened(store: Switchable, *, block: int = BLOCK, region: int = 0, **more: object) -> CodeFactory:
    """Return an open factory."""
    factory = CodeFactory(store, block=block, region=region, **more)  # type: ignore[arg-type]
    await factory.open()
    return factory


async def take(factory: CodeFactory, count: int) -> list[str]:
    """Return so many codes."""
    return [await factory.next_code() for _ in range(count)]


async def test_no_code_comes_twice(store: Switchable) -> None:
    """200,000 codes over 20 blocks differ from each other, and each is 7 base62 characters."""
    codes = await take(await opened(store), 200_000)
    assert len(set(codes)) == 200_000
    assert all(len(code) == 7 and code.isalnum() and code.isascii() for code in codes[:1000])


async def test_factories_on_one_store_never_collide(store: Switchable) -> None:
    """Two processes of one region and one of another, taking in turns, give out no code twice."""
    factories = [await opened(store, block=100), await opened(store, block=70), await opened(store, region=63, block=9)]
    codes = [await factory.next_code() for _ in range(2_000) for factory in factories]
    assert len(set(codes)) == 6_000


async def test_regions_with_stores_of_their_own_never_collide(store: Switchable) -> None:
    """With one key, two regions that never talk give out different codes: the region is in the number."""
    other = Switchable()
    await other.open()
    here, there = await opened(store, key=KEY, region=1), await opened(other, key=KEY, region=2)
    codes = await take(here, 3_000) + await take(there, 3_000)
    assert len(set(codes)) == 6_000
    numbers = [PERMUTATION.invert(base62.decode(code)) for code in codes]
    assert {number & 63 for number in numbers} == {1, 2}
    await other.close()


async def test_a_restart_goes_on_behind_the_blocks_taken(store: Switchable) -> None:
    """A factory opened later on the same store repeats nothing, whatever the first left of its block."""
    first = await take(await opened(store, block=50), 30)
    second = await take(await opened(store, block=50), 200)
    assert not set(first) & set(second)


async def test_callers_who_wait_share_one_fetch(store: Switchable) -> None:
    """A hundred callers at an empty factory cause one commit, and all get a code of their own."""
    factory = await opened(store)
    store.commits = 0
    codes = await asyncio.gather(*(factory.next_code() for _ in range(100)))
    assert len(set(codes)) == 100
    assert store.commits == 1


async def test_more_callers_than_a_block_holds_are_all_served(store: Switchable) -> None:
    """Waiters that find the fetched block used up fetch the next one."""
    factory = await opened(store, block=3)
    codes = await asyncio.gather(*(factory.next_code() for _ in range(100)))
    assert len(set(codes)) == 100


async def test_the_next_block_is_fetched_before_this_one_ends(store: Switchable) -> None:
    """At a fifth left one fetch begins in the background; when it is there, taking on never suspends."""
    factory = await opened(store, block=100)
    await take(factory, 79)
    before = store.commits
    await take(factory, 1)
    store.gate = asyncio.Event()
    await take(factory, 19)
    await asyncio.sleep(0)
    assert store.commits == before + 1
    store.gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    store.gate = None
    for _ in range(50):
        taking = factory.next_code()
        with pytest.raises(StopIteration):
            taking.send(None)


async def test_a_failed_prefetch_is_not_tried_for_every_code(store: Switchable) -> None:
    """With the store away the rest of the block is given out, the background tries once and again after the pause."""
    clock = FakeClock()
    factory = await opened(store, block=100, clock=clock)
    await take(factory, 79)
    store.away, store.commits = True, 0
    for _ in range(10):
        await factory.next_code()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert store.commits == 1
    clock.advance(5)
    store.away = False
    await factory.next_code()
    await asyncio.sleep(0)
    assert store.commits == 2


async def test_with_no_number_left_an_absent_store_is_reported_and_recovered_from(store: Switchable) -> None:
    """All waiters get `StoreUnavailable`; the first call after the store is back gets a code, with no pause."""
    factory = await opened(store, clock=FakeClock())
    store.away = True
    results = await asyncio.gather(*(factory.next_code() for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 3
    store.away = False
    assert await factory.next_code()


async def test_a_caller_that_gives_up_does_not_stop_the_fetch_of_others(store: Switchable) -> None:
    """Cancelling one waiter leaves the shared fetch, and the other waiter gets its code."""
    factory = await opened(store)
    store.gate = asyncio.Event()
    first, second = (asyncio.create_task(factory.next_code()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    store.gate.set()
    assert await second
    assert first.cancelled()


async def test_a_fetch_outlasts_the_deadline_of_who_began_it(store: Switchable) -> None:
    """Who came first may be in a hurry; the fetch is for all, and the store's own deadline bounds it."""
    clock = FakeClock()
    sweep = Sweep(clock=clock)
    writes = Policy(name="writes", deadline=Deadlines("writes", sweep=sweep))
    factory = CodeFactory(guarded(store, reads=writes, writes=writes), clock=clock)
    await factory.open()
    store.gate = asyncio.Event()
    requests = Deadlines("request", sweep=sweep)

    async def take(budget: float) -> str:
        async with requests.scope(budget):
            return await factory.next_code()

    hasty, patient = (asyncio.create_task(take(budget)) for budget in (0.1, 4.0))
    await clock.run_for(0.4)
    assert isinstance(hasty.exception(), DeadlineExceeded)
    store.gate.set()
    assert await patient
    await factory.close()


async def test_closing_ends_the_fetch_and_tells_who_waits(store: Switchable) -> None:
    """After close no task is left, and a waiter got `StoreUnavailable`, no cancellation it did not ask for."""
    factory = await opened(store)
    store.gate = asyncio.Event()
    waiter = asyncio.create_task(factory.next_code())
    await asyncio.sleep(0)
    await factory.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await waiter
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_factory_that_is_not_open_gives_no_code(store: Switchable) -> None:
    """Without the key there is no code."""
    with pytest.raises(StoreUnavailable, match="not open"):
        await CodeFactory(store).next_code()


async def test_the_key_is_made_once_for_all(store: Switchable) -> None:
    """Factories that open at the same time, none with a key, agree on one."""
    factories = [CodeFactory(store, block=2) for _ in range(5)]
    await asyncio.gather(*(factory.open() for factory in factories))
    codes = [await factory.next_code() for factory in factories for _ in range(100)]
    assert len(set(codes)) == 500


async def test_the_loser_of_the_race_takes_the_winners_key() -> None:
    """A factory that read no key, and then finds its insert refused, uses the key that was there first."""
    store = Switchable()
    await store.open()
    gate = store.gate = asyncio.Event()
    late = CodeFactory(store)
    opening = asyncio.create_task(late.open())
    await asyncio.sleep(0)
    store.gate = None
    await opened(store, key=KEY)
    gate.set()
    await opening
    code = await late.next_code()
    assert PERMUTATION.invert(base62.decode(code)) == 0
    await store.close()


async def test_a_configured_key_is_stored_and_another_refused(store: Switchable) -> None:
    """The first configured key stays: without one it is used, with another the error is one line without either key."""
    await opened(store, key=KEY)
    code = await (await opened(store)).next_code()
    assert PERMUTATION.invert(base62.decode(code)) == 0
    with pytest.raises(CodeKeyMismatch) as caught:
        await opened(store, key=b"another key of enough bytes")
    assert isinstance(caught.value, ConfigError)
    assert str(caught.value) == (
        "codes.key: differs from the key this store's codes are made with: configure that one, or none"
    )


@pytest.mark.parametrize("value", [b'{"scheme":"feistel-99","key":"AAAA"}', b"not json", b'{"scheme":1}'])
async def test_a_stored_key_this_version_cannot_use_is_refused(store: Switchable, value: bytes) -> None:
    """An unknown scheme or a damaged record is never overwritten: that would repeat codes."""
    await store.commit([Insert(collection="system", key="codes", value=value)])
    with pytest.raises(CodeKeyMismatch, match=r"^codes\.key: "):
        await opened(store)
    record = await store.get("system", "codes")
    assert record is not None
    assert record.value == value


async def test_a_store_keeps_the_scheme_that_it_was_begun_with(store: Switchable) -> None:
    """Codes of an older store go on as they began, and its links stay where they are."""
    begun = msgspec.json.encode({"scheme": "feistel-8-blake2s-21", "key": base64.b64encode(KEY).decode()})
    await store.commit([Insert(collection="system", key="codes", value=begun)])
    factory = await opened(store, key=KEY)
    code = await factory.next_code()
    assert Permutation(KEY, rounds=8, lead=b"").invert(base62.decode(code)) == 0
    assert factory.sort_key(code) == code == factory.code_of(code)


async def test_sort_keys_need_an_open_factory(store: Switchable) -> None:
    """Before the key is known nobody can say what a link is kept by."""
    factory = CodeFactory(store)
    for ask in (factory.sort_key, factory.code_of):
        with pytest.raises(StoreUnavailable, match="not open"):
            ask("abcdefg")
    await factory.open()
    assert factory.code_of(factory.sort_key("abcdefg")) == "abcdefg"


async def test_the_key_appears_in_no_log_and_no_repr(store: Switchable, caplog: pytest.LogCaptureFixture) -> None:
    """Neither what is logged nor what is printed of a factory holds its key."""
    caplog.set_level(logging.DEBUG)
    factory = await opened(store, key=KEY, block=10)
    await take(factory, 3)
    assert repr(factory) == "CodeFactory(region=0, block=10, left=7)"
    assert "0123456789abcdef" not in caplog.text + str(vars(vars(factory)["_codes"]))


async def test_advancing_skips_what_a_lost_store_gave_out(store: Switchable) -> None:
    """After a restored backup, the counter moved on: none of the codes given out since comes again."""
    backup = Switchable()
    await backup.open()
    lost = await take(await opened(store, key=KEY, block=100), 950)
    restored = await opened(backup, key=KEY, block=100)
    stale = await take(restored, 30)
    assert set(stale) <= set(lost)
    await restored.advance(10)
    assert not set(await take(restored, 950)) & set(lost)
    with pytest.raises(ValueError, match="at least 1"):
        await restored.advance(0)
    await backup.close()


async def test_a_fetch_that_advancing_overtook_is_dropped(store: Switchable) -> None:
    """A block committed just before the counter moved, and answered after it, is not given out."""
    factory = await opened(store, key=KEY, block=10)
    await take(factory, 7)
    hold = store.hold = asyncio.Event()
    await take(factory, 1)
    await asyncio.sleep(0)
    await factory.advance(5)
    hold.set()
    code = await factory.next_code()
    assert PERMUTATION.invert(base62.decode(code)) >> 6 == 70


async def test_a_region_ends_with_an_error(store: Switchable) -> None:
    """The last whole block is given out; past it comes `CodesExhausted`, never a code of another region."""
    await store.commit([Add(counters="codes", amounts={"next:3": REGION_CODES - 10})])
    factory = await opened(store, region=3, block=10, key=KEY)
    codes = await take(factory, 10)
    assert PERMUTATION.invert(base62.decode(codes[-1])) == CODE_COUNT - 64 + 3
    with pytest.raises(CodesExhausted, match="region 3"):
        await factory.next_code()


async def test_a_number_whose_code_is_reserved_is_skipped(store: Switchable) -> None:
    """`healthz` and `metrics` have seven letters: their numbers are passed over."""
    number = PERMUTATION.invert(base62.decode("metrics"))
    sequence, region = number >> 6, number & 63
    await store.commit([Add(counters="codes", amounts={f"next:{region}": sequence})])
    code = await (await opened(store, key=KEY, region=region)).next_code()
    assert not is_reserved(code)
    assert PERMUTATION.invert(base62.decode(code)) >> 6 == sequence + 1


async def test_private_codes_are_random_and_long(store: Switchable) -> None:
    """Twelve base62 characters from the randomness given, at any time, with no number taken."""
    factory = CodeFactory(store, randomness=random.Random(7))
    codes = {factory.private_code() for _ in range(1_000)}
    assert len(codes) == 1_000
    assert all(len(code) == 12 and code.isalnum() and code.isascii() for code in codes)
    assert {code[0] for code in codes} == set(base62.ALPHABET)
    assert CodeFactory(store, randomness=random.Random(7)).private_code() in codes


def test_settings_out_of_range_are_listed() -> None:
    """Region, block and key are checked when the factory is built, all in one error, which does not hold the key."""
    store = Switchable()
    with pytest.raises(ConfigError) as caught:
        CodeFactory(store, region=64, block=0, key=b"short")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "codes.region",
        "codes.block",
        "codes.key",
    ]
    assert "short" not in str(caught.value)
