"""Runs the instances of a workflow: each step is one commit of its record, its history, its messages and its id."""

from __future__ import annotations

import os
import random as random_module
from enum import Enum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec

from astra_core.clock import SystemClock
from astra_core.errors import CommitConflict, ConflictReason
from astra_core.events import EventHandled, Listeners, StepConflicted, TimerFired
from astra_core.messaging.messages import MAX_TEXT
from astra_core.resilience.backoff import FullJitter
from astra_core.storage.history import History
from astra_core.storage.store import Store
from astra_core.workflow.commit import BEGUN, commit_of, requirements, seen_key
from astra_core.workflow.course import advance, beginning
from astra_core.workflow.entries import BEGIN, Entry, Occurrence
from astra_core.workflow.instance import Instance, Result, UnknownInstance
from astra_core.workflow.keeper import Loaded, RecordKeeper
from astra_core.workflow.replaying import replayed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from astra_core.clock import Clock
    from astra_core.events import Listener
    from astra_core.resilience.backoff import Backoff
    from astra_core.storage.writes import Write
    from astra_core.workflow.definition import Workflow
    from astra_core.workflow.keeper import Keeper

__all__ = ["Runner", "StoreWithHistory", "random_id"]

S = TypeVar("S", bound=Enum)
E = TypeVar("E")
C = TypeVar("C")
D = TypeVar("D")

_entry = msgspec.json.Decoder(Entry).decode


def random_id() -> str:
    """Return 32 hexadecimal digits that nobody else has."""
    return os.urandom(16).hex()


class StoreWithHistory(Store, History, Protocol):
    """What a runner needs of a store; every `StoreEngine` is one."""


class Runner(Generic[S, E, C, D]):
    """Begins instances of `workflow` and sends them events.

    One commit holds the record at its version, the history, the messages for effects and, if the sender named the
    event, its id. Somebody else's step in between makes it read and decide again, up to `tries` times, after a wait of
    `backoff`; then `CommitConflict` goes to the caller. `also` are further writes of that commit and stand first in
    it, so `CommitConflict.write` of a refused one is its place there.
    """

    def __init__(
        self,
        workflow: Workflow[S, E, C, D],
        store: StoreWithHistory,
        *,
        keeper: Keeper[S, D] | None = None,
        clock: Clock | None = None,
        ids: Callable[[], str] = random_id,
        random: random_module.Random | None = None,
        listeners: Listener | None = None,
        tries: int = 32,
        backoff: Backoff | None = None,
    ) -> None:
        self.workflow = workflow
        self.keeper: Keeper[S, D] = keeper or RecordKeeper(workflow, store)
        self._store = store
        self._clock = clock or SystemClock()
        self._ids = ids
        self._random = random or random_module.Random()  # noqa: S311 - jitter
        self._listener = listeners or Listeners()
        self._tries = tries
        self._backoff = backoff or FullJitter(base=0.001, cap=0.05)

    def __repr__(self) -> str:
        return f"Runner({self.workflow.name!r}, tries={self._tries})"

    async def get(self, key: str) -> Instance[S, D] | None:
        """Return the instance as it stands, or None; timers that are due and did not fire yet change nothing."""
        loaded = await self.keeper.load(key)
        return None if loaded is None else Instance(key, loaded.version, loaded.kept)

    async def begin(
        self,
        key: str,
        data: D,
        *,
        state: S | None = None,
        id: str = "",  # noqa: A002 - the caller says `id=`
        by: str = "",
        why: str = "",
        also: Sequence[Write] = (),
    ) -> Instance[S, D]:
        """Make a new instance, in `state` or in the first initial one.

        Raises `CommitConflict` with the reason `EXISTS` when there is one; with the `id` that made it, returns that.
        `also` may say so too, and what it holds was written then. Raises `ValueError` for a key that is longer than the
        512 characters of a message's.
        """
        if len(key) > MAX_TEXT:
            raise ValueError(f"a key of {len(key)} characters, and a message's has at most {MAX_TEXT}")
        now = self._now()
        step = beginning(self.workflow, data, state, event_id=id or self._ids(), by=by, why=why, now=now)
        commit = commit_of(self.workflow, self.keeper, key, None, step, event_id=id, also=also, now=now)
        try:
            await self._store.commit(commit.writes)
        except CommitConflict:
            loaded = await self.keeper.load(key)
            if loaded is None or await self._seen(key, id) != BEGUN:
                raise
            return Instance(key, loaded.version, loaded.kept)
        self._tell(EventHandled(self.workflow.name, BEGIN, "begun"))
        return Instance(key, 1, step.kept)

    async def send(
        self,
        key: str,
        event: E,
        *,
        id: str = "",  # noqa: A002 - the caller says `id=`
        by: str = "",
        why: str = "",
        also: Sequence[Write] = (),
        at: int | None = None,
    ) -> Result[S, E, D]:
        """Let an event happen to an instance, after the timers that are due.

        With an `id`, it happens once: who sends it again gets the instance as it stands, and `duplicate`. An event that
        was refused or ignored is not remembered, and of `also` nothing is written but what it requires. With `at`, it
        happens at that version of the record or raises `CommitConflict`. Raises `UnknownInstance`.

        After `CommitInDoubt`, which says that the store did not answer, sending the same again with the same `id` is
        safe, whatever `at` and `also` say.
        """
        occurrence = Occurrence(event, id or self._ids(), by, why)
        result = await self._step(key, occurrence, id, also, at)
        outcome = "duplicate" if result.decision is None else result.decision.outcome.value
        self._tell(EventHandled(self.workflow.name, type(event).__name__, outcome))
        return result

    async def fire(self, key: str, *, also: Sequence[Write] = ()) -> Instance[S, D]:
        """Send an instance the events of its timers that are due; without any, nothing is written.

        Raises `UnknownInstance`.
        """
        return (await self._step(key, None, "", also, None)).instance

    async def history(self, key: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return entries that follow number `after` (they count from 1), oldest first; none for an unknown instance."""
        loaded = await self.keeper.load(key)
        if loaded is None:
            return ()
        first = self.keeper.first(key, loaded)
        entries = [first] if first is not None and after == 0 else []
        if limit > len(entries):
            stored = max(0, after - (first is not None))
            events = await self._store.events(self.workflow.name, key, after=stored, limit=limit - len(entries))
            entries += [_entry(event.data) for event in events]
        return entries

    async def replay(self, key: str) -> S:
        """Return the state that the history leads to: that of the record.

        Raises `UnknownInstance`, and what `replayed` raises.
        """
        entries: list[Entry] = []
        while page := await self.history(key, after=len(entries)):
            entries += page
        if not entries:
            raise UnknownInstance(self.workflow.name, key)
        return replayed(self.workflow, entries).state

    async def _step(
        self, key: str, occurrence: Occurrence | None, event_id: str, also: Sequence[Write], at: int | None
    ) -> Result[S, E, D]:
        """Decide and commit until nobody is quicker."""
        tries = 0
        while True:
            tries += 1
            loaded = await self._loaded(key)
            now = self._now()
            step = advance(self.workflow, loaded.kept, occurrence, now=now)
            heard, elsewhere = step.is_heard, at is not None and at != loaded.version
            if (elsewhere or not heard) and await self._seen(key, event_id) is not None:
                return Result(Instance(key, loaded.version, loaded.kept), None, duplicate=True)
            if elsewhere:
                raise CommitConflict(ConflictReason.VERSION, write=len(also), key=key)
            if not step.entries and step.kept == loaded.kept:
                return Result(Instance(key, loaded.version, loaded.kept), step.decision)
            kept_id, writes = (event_id, also) if heard else ("", requirements(also))
            commit = commit_of(self.workflow, self.keeper, key, loaded, step, event_id=kept_id, also=writes, now=now)
            try:
                await self._store.commit(commit.writes)
            except CommitConflict as conflict:
                overtaken = commit.is_overtaken(conflict)
                if not overtaken and await self._seen(key, event_id) is not None:
                    loaded = await self._loaded(key)
                    return Result(Instance(key, loaded.version, loaded.kept), None, duplicate=True)
                if not overtaken or tries >= self._tries:
                    raise
                await self._give_way(tries)
                continue
            for fired in step.fired:
                self._tell(TimerFired(self.workflow.name, fired.name, fired.outcome.value, (now - fired.due) / 1e6))
            return Result(Instance(key, loaded.version + 1, step.kept), step.decision)

    async def _give_way(self, tries: int) -> None:
        """Wait before the next try; the first one comes at once, as who was quicker is done by now."""
        self._tell(StepConflicted(self.workflow.name))
        if tries > 1:
            await self._clock.sleep(self._backoff.delay(tries - 1, 0.0, self._random))

    async def _loaded(self, key: str) -> Loaded[S, D]:
        loaded = await self.keeper.load(key)
        if loaded is None:
            raise UnknownInstance(self.workflow.name, key)
        return loaded

    async def _seen(self, key: str, event_id: str) -> bytes | None:
        """Return what is remembered of an id: `BEGUN` of one that began the instance; None for one that is new."""
        record = await self._store.get(self.workflow.seen.name, seen_key(key, event_id)) if event_id else None
        return None if record is None else record.value

    def _now(self) -> int:
        return round(self._clock.time() * 1e6)

    def _tell(self, event: object) -> None:
        self._listener(event)
