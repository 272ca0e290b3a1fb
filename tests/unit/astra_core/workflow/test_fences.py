"""Fences: the store refuses whoever is no owner any more, wherever it was paused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astra_core.coordination import MemoryCoordination, Tenure
from astra_core.errors import CommitConflict, LeaseLost
from astra_core.storage import Append, Collection, Insert, MemoryStore
from astra_core.testing import FakeClock
from astra_core.workflow import FENCES, Fence, take_fence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from astra_core.storage import Record, Write

TTL = 9.0


class Pausing(MemoryStore):
    """A store at which the caller is paused: `before` happens meanwhile, once, before the call that it names."""

    def __init__(self) -> None:
        super().__init__(collections=[FENCES, Collection(name="things")])
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}

    async def get(self, collection: str, key: str) -> Record | None:
        """Read, after the pause."""
        await self._pause("get")
        return await super().get(collection, key)

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Commit, after the pause."""
        await self._pause("commit")
        return await super().commit(writes)

    async def _pause(self, call: str) -> None:
        happens = self.before.pop(call, None)
        if happens is not None:
            await happens()


class Scene:
    """Two who may hold a lease, and the store that it protects."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.leases = MemoryCoordination(clock=self.clock)
        self.store = Pausing()

    async def tenure(self) -> Tenure:
        """Take the lease, which must be free."""
        lease = await self.leases.acquire("n", ttl=TTL)
        assert lease is not None
        return Tenure(lease, renew=self.leases.renew, clock=self.clock)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Nobody holds the lease yet."""
    made = Scene()
    async with made.leases, made.store:
        yield made


async def test_each_owner_has_the_next_epoch_and_the_one_before_it_writes_nothing(scene: Scene) -> None:
    """A commit with the fence of an earlier owner is refused as a whole, and says that the fence refused it."""
    first = await take_fence(scene.store, "n", await scene.tenure())
    await scene.store.commit([first.require, Append(stream="s", key="k", data=b"1")])
    scene.clock.advance(TTL)
    second = await take_fence(scene.store, "n", await scene.tenure())
    assert (first.epoch, second.epoch) == (1, 2)
    with pytest.raises(CommitConflict) as caught:
        await scene.store.commit([first.require, Append(stream="s", key="k", data=b"2")])
    assert first.refused(caught.value)
    await scene.store.commit([second.require, Append(stream="s", key="k", data=b"3")])
    assert [event.data for event in await scene.store.events("s", "k")] == [b"1", b"3"]


async def test_another_conflict_is_not_the_fences(scene: Scene) -> None:
    """An insert that meets a record is no end of ownership."""
    fence = await take_fence(scene.store, "n", await scene.tenure())
    writes: list[Write] = [fence.require, Insert(collection="things", key="a", value=b"")]
    await scene.store.commit(writes)
    with pytest.raises(CommitConflict) as caught:
        await scene.store.commit(writes)
    assert not fence.refused(caught.value)


@pytest.mark.parametrize("paused", ["get", "commit"])
async def test_a_holder_paused_while_it_takes_the_fence_does_not_get_it(scene: Scene, paused: str) -> None:
    """Another holder took the lease and the fence meanwhile: the late one is told, and the other writes on."""
    late = await scene.tenure()
    other: list[Fence] = []

    async def meanwhile() -> None:
        scene.clock.advance(TTL)
        other.append(await take_fence(scene.store, "n", await scene.tenure()))

    scene.store.before[paused] = meanwhile
    with pytest.raises(LeaseLost):
        await take_fence(scene.store, "n", late)
    await scene.store.commit([other[0].require])
