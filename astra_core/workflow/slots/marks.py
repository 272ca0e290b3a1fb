"""The fences of slots, as they lie in the store, and the rule by which one is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from astra_core.errors import CommitConflict
from astra_core.storage.records import Query
from astra_core.workflow.fences import FENCES, Fence, Mark, marking, read_mark
from astra_core.workflow.slots.hashing import SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from astra_core.coordination import View
    from astra_core.storage.store import Store

__all__ = ["Marked", "Marks", "fence_key"]

_CHUNK = 64
"""Fences in one commit: it holds the store's write lock for about 1 ms."""


class Marked(Struct, frozen=True):
    """A fence as it was read."""

    version: int
    mark: Mark

    def is_free(self, view: View) -> bool:
        """Whether nobody in `view` holds it. A life that is over never comes back, so a dead owner stays dead."""
        return not self.mark.held or not view.has(self.mark.owner, self.mark.life)


def fence_key(slot: int) -> str:
    """Return the key of a slot's fence."""
    return f"slot {slot}"


class Marks:
    """The fences of all slots in `store`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self) -> Mapping[int, Marked]:
        """Return the fence of every slot that has one."""
        page = await self._store.find(Query(collection=FENCES.name, index="slot", limit=SLOTS))
        return {
            int(record.key.removeprefix("slot ")): Marked(record.version, read_mark(record.value))
            for record in page.records
        }

    async def write(self, versions: Mapping[int, int], mark: Mark) -> Mapping[int, Fence]:
        """Make the fences of slots say `mark` where they still stand at these versions; return those that now do."""
        made: dict[int, Fence] = {}
        for chunk in _chunks(sorted(versions)):
            made |= await self._write_chunk(chunk, versions, mark)
        return made

    async def _write_chunk(self, slots: list[int], versions: Mapping[int, int], mark: Mark) -> dict[int, Fence]:
        while slots:
            writes = [marking(fence_key(slot), versions[slot], mark, {"slot": ((slot,),)}) for slot in slots]
            try:
                epochs = await self._store.commit(writes)
            except CommitConflict as conflict:  # somebody else was quicker with this one
                del slots[conflict.write]
            else:
                return {slot: Fence(fence_key(slot), epoch) for slot, epoch in zip(slots, epochs, strict=True)}
        return {}

    def __repr__(self) -> str:
        return f"Marks({self._store!r})"


def _chunks(slots: Sequence[int]) -> Iterator[list[int]]:
    starts: Iterable[int] = range(0, len(slots), _CHUNK)
    return (list(slots[start : start + _CHUNK]) for start in starts)
