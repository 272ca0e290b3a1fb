"""The slots that this process owns: taken when others have let go of them, fenced, and handed over in good order."""

from __future__ import annotations

import asyncio
import logging
import random as random_module
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from astra_core.clock import SystemClock
from astra_core.coordination import Tenure, View
from astra_core.coordination.asking import asked
from astra_core.errors import CommitConflict, CoordinationError, LeaseLost, SlotMoved, StorageError
from astra_core.events import MembersChanged, SlotHandedOver
from astra_core.workflow.fences import Fence, Mark
from astra_core.workflow.slots.hashing import SlotMap, slot_of
from astra_core.workflow.slots.marks import Marks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from astra_core.clock import Clock
    from astra_core.coordination import Lease, Member, Members
    from astra_core.events import Listener
    from astra_core.storage.store import Store

__all__ = ["SlotOwner"]

_log = logging.getLogger("astra.workflow")
_NOBODY = View(-1, ())


class _Held:
    """A slot that is ours; `busy` counts the work in it, `closing` since when it takes no more."""

    __slots__ = ("busy", "closing", "fence", "slot")

    def __init__(self, slot: int, fence: Fence) -> None:
        self.slot = slot
        self.fence = fence
        self.busy = 0
        self.closing: float | None = None


class SlotOwner:
    """Joins the members as `name`, and owns the slots that rendezvous hashing gives it among them.

    >>> with owner.slot(key) as fence:
    ...     await store.commit([fence.require, *writes])

    A slot moves in three steps. Its old owner takes no more work for it and lets what runs end, for at most `drain`
    seconds; it gives the fence back, which refuses what did not end; the new owner takes the fence. The fence of an
    owner that is a member no more is taken without asking. Whoever is refused gets `SlotMoved`.

    `store` must have the collection `FENCES` and hold what the slots' work writes. `poll` is the pause in seconds
    between two looks while a slot is on its way.
    """

    def __init__(
        self,
        name: str,
        *,
        members: Members,
        store: Store,
        ttl: float = 10.0,
        drain: float = 5.0,
        poll: float = 0.05,
        data: str = "",
        clock: Clock | None = None,
        random: random_module.Random | None = None,
        listeners: Listener | None = None,
    ) -> None:
        """`data` is what other members read of this one, such as its address."""
        if ttl <= 0 or drain < 0 or poll <= 0:
            raise ValueError("an owner needs ttl and poll above 0 seconds, drain of 0 or more")
        self.name = name
        self.view = _NOBODY
        """The members as last seen."""
        self.map = SlotMap(())
        """Who owns which slot among them."""
        self._members = members
        self._marks = Marks(store)
        self._ttl = ttl
        self._drain = drain
        self._poll = poll
        self._data = data
        self._clock: Clock = clock or SystemClock()
        self._random = random or random_module.Random()  # noqa: S311 - jitter, no secret
        self._listeners = listeners
        self._tenure: Tenure | None = None
        self._held: dict[int, _Held] = {}
        self._wanted: frozenset[int] = frozenset()
        self._seen = 0.0
        self._doubt = False

    @property
    def owned(self) -> int:
        """Slots whose work is done here now."""
        if self._tenure is None or not self._tenure.held:
            return 0
        return sum(held.closing is None for held in self._held.values())

    @property
    def members(self) -> int:
        """Members there are, as last seen."""
        return len(self.view.members)

    @property
    def settled(self) -> bool:
        """Whether it owns all that it should, and nothing else."""
        return self.owned == len(self._held) == len(self._wanted) > 0

    def owner_of(self, key: str) -> Member | None:
        """Return the member that owns the slot of `key`, as far as is known here."""
        name = self.map.owner_of(key)
        return next((member for member in self.view.members if member.name == name), None)

    @contextmanager
    def slot(self, key: str) -> Iterator[Fence]:
        """Do work for `key` inside: the slot is not handed over before it ends, and all it commits holds the fence.

        Raises `SlotMoved` when the slot is not ours, and in place of a `CommitConflict` that came from the fence.
        """
        held = self._held.get(slot_of(key))
        if held is None or held.closing is not None or self._tenure is None or not self._tenure.held:
            raise SlotMoved(slot_of(key), self.map.owner_of(key))
        held.busy += 1
        try:
            yield held.fence
        except CommitConflict as conflict:
            if not held.fence.refused(conflict):
                raise
            self._forget(held)
            raise SlotMoved(held.slot, self.map.owner_of(key)) from conflict
        finally:
            held.busy -= 1

    async def run(self) -> None:
        """Be a member and own slots until cancelled; then hand every slot over, and leave.

        A membership that was lost is taken anew, and its slots with it.
        """
        while True:
            tenure = await self._join()
            if tenure is not None:
                await self._belong(tenure)
            await self._clock.sleep(self._ttl / 10 * self._random.uniform(0.7, 1.0))

    async def _join(self) -> Tenure | None:
        joining = self._members.join(self.name, ttl=self._ttl, data=self._data)
        try:
            lease = await asked(joining, give_back=self._leave, wait=self._ttl)
        except CoordinationError as error:
            _log.warning("%s cannot join: %s", self.name, error)
            return None
        return None if lease is None else Tenure(lease, renew=self._members.beat, clock=self._clock)

    async def _belong(self, tenure: Tenure) -> None:
        """Follow the members until the membership is lost; when cancelled, resign."""
        self._tenure = tenure
        keeping = asyncio.create_task(tenure.keep())
        following = asyncio.create_task(self._follow(tenure))
        try:
            await asyncio.wait((keeping, following), return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
        except asyncio.CancelledError:
            following.cancel()
            await asyncio.wait((following,))
            await self._resign(tenure)
            raise
        finally:
            following.cancel()
            keeping.cancel()
            self._tenure = None
            self._held.clear()  # others take them by their fences, which refuse what still runs
            self._adopt(_NOBODY)

    async def _follow(self, tenure: Tenure) -> None:
        """See who is there, give what is others', take what is ours; again with every change."""
        while True:
            try:
                wait = self._ttl / 3 if self.settled and not self._doubt else self._poll
                view = await self._members.changed(self.view.revision, wait=wait)
                if view.revision != self.view.revision:
                    self._adopt(view)
                self._keep()
                await self._give(self._held.keys() - self._wanted)
                await self._take(tenure)
            except LeaseLost:
                return
            except (CoordinationError, StorageError) as error:
                self._doubt = True
                _log.warning("%s cannot move slots now: %s", self.name, error)
                await self._clock.sleep(self._poll)

    def _adopt(self, view: View) -> None:
        self.view = view
        self.map = SlotMap((member.name for member in view.members), known=self.map)
        self._wanted = self.map.slots_of(self.name)
        self._seen = self._clock.monotonic()
        self._doubt = True
        if view is not _NOBODY:
            self._tell(MembersChanged(view.revision, len(view.members)))

    def _keep(self) -> None:
        """Go on with slots that were to be given, and are ours again before their last work has ended."""
        for held in self._held.values():
            if held.slot in self._wanted:
                held.closing = None

    async def _give(self, slots: Iterable[int]) -> None:
        """Take no more work for `slots`, and give back those whose work has ended, or will not."""
        now = self._clock.monotonic()
        ready: dict[int, int] = {}
        for slot in slots:
            held = self._held[slot]
            if held.closing is None:
                held.closing = now
            if not held.busy or now - held.closing >= self._drain:
                ready[slot] = held.fence.epoch
        if not ready:
            return
        for slot in ready:  # not ours from here on, even if the store does not answer: then `_take` sees what it did
            del self._held[slot]
        await self._marks.write(ready, self._mark(held=False))
        self._handed_over(ready, "given")

    async def _take(self, tenure: Tenure) -> None:
        """Take the slots that should be ours and that nobody holds.

        First the fences are read, then the members, and each write names the version that was read. Whoever took a
        fence before the read had joined before it, so it is in the view if it lives; who takes it afterwards makes the
        version another one. So nobody's fence is taken while it is a member, however long this process is paused here.
        """
        missing = self._wanted - self._held.keys()
        if not missing and not self._doubt:
            return
        marks = await self._marks.read()
        view = await self._members.view()
        tenure.check()
        if view.revision != self.view.revision:
            return
        mine = {slot for slot, found in marks.items() if found.mark == self._mark(held=True)} - self._held.keys()
        free = {slot for slot in missing if slot not in marks or marks[slot].is_free(view)} | (mine & missing)
        await self._marks.write({slot: marks[slot].version for slot in mine - missing}, self._mark(held=False))
        versions = {slot: marks[slot].version if slot in marks else 0 for slot in free}
        fences = await self._marks.write(versions, self._mark(held=True))
        self._held |= {slot: _Held(slot, fence) for slot, fence in fences.items()}
        self._doubt = False
        self._handed_over(fences, "taken")

    async def _resign(self, tenure: Tenure) -> None:
        """Hand everything over, as far as that goes in the time there is, and leave."""
        try:
            while self._held:
                await self._give(self._held.keys())
                if self._held:
                    await self._clock.sleep(self._poll)
        except StorageError as error:
            _log.warning("%s leaves without having handed its slots over: %s", self.name, error)
        await self._leave(tenure.lease)

    async def _leave(self, lease: Lease) -> None:
        try:
            await self._members.leave(lease)
        except CoordinationError as error:
            _log.warning("%s could not leave, its membership ends by itself: %s", self.name, error)

    def _forget(self, held: _Held) -> None:
        """Drop a slot that somebody else has fenced; whether it should be ours again is looked up."""
        if self._held.get(held.slot) is held:
            del self._held[held.slot]
            self._doubt = True

    def _mark(self, *, held: bool) -> Mark:
        return Mark(self.name, self._tenure.epoch if self._tenure else 0, held)

    def _handed_over(self, slots: Iterable[int], side: Literal["given", "taken"]) -> None:
        seconds = self._clock.monotonic() - self._seen
        for slot in slots:
            self._tell(SlotHandedOver(slot, side, seconds))

    def _tell(self, event: object) -> None:
        if self._listeners is not None:
            self._listeners(event)

    def __repr__(self) -> str:
        return f"SlotOwner({self.name!r}, owned={self.owned}, wanted={len(self._wanted)}, {self.map!r})"
