"""What time does to instances: timers that are due, and ids that need no longer be remembered."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random as random_module
from enum import Enum
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from astra_core.clock import SystemClock
from astra_core.errors import CommitConflict, StorageError, StoreUnavailable
from astra_core.events import InstanceStuck, Listeners
from astra_core.resilience.backoff import EqualJitter
from astra_core.workflow.ids import forget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from astra_core.clock import Clock
    from astra_core.events import Listener
    from astra_core.resilience.backoff import Backoff
    from astra_core.storage.store import Store
    from astra_core.storage.writes import Scalar, Write
    from astra_core.workflow.runner import Runner

__all__ = ["Sweeper"]

S = TypeVar("S", bound=Enum)
E = TypeVar("E")
C = TypeVar("C")
D = TypeVar("D")

_log = logging.getLogger("astra.workflow")


_LONGEST = 300.0
_MOST = 1_000


class _Rest(NamedTuple):
    """An instance that could not be stepped is left alone `until` then, for `wait` seconds."""

    wait: float
    until: float


_FREE = _Rest(0.0, 0.0)


def _no_fence(key: str) -> Sequence[Write]:
    return ()


class Sweeper(Generic[S, E, C, D]):
    """Fires the timers of a workflow's instances, at most `idle` seconds late while it keeps up.

    A round looks at `batch` instances, the longest due first, and works on `at_once` of them; it forgets as many ids.
    An instance that cannot be stepped is told as `InstanceStuck`, tried again ever more seldom, and holds nobody up:
    rounds go on behind it before they begin again. Several sweepers at once do each other's work twice and nothing
    wrong: a timer fires once, as the record's version tells. `fence(key)` are requirements for the commit of a key; the
    first that no longer holds ends `run`.
    """

    def __init__(
        self,
        runner: Runner[S, E, C, D],
        store: Store,
        *,
        batch: int = 200,
        at_once: int = 16,
        idle: float = 1.0,
        backoff: Backoff | None = None,
        fence: Callable[[str], Sequence[Write]] = _no_fence,
        clock: Clock | None = None,
        random: random_module.Random | None = None,
        listeners: Listener | None = None,
    ) -> None:
        self._runner = runner
        self._store = store
        self._batch = batch
        self._at_once = at_once
        self._idle = idle
        self._backoff = backoff or EqualJitter(base=0.1, cap=5.0)
        self._fence = fence
        self._clock = clock or SystemClock()
        self._random = random or random_module.Random()  # noqa: S311 - jitter
        self._listener = listeners or Listeners()
        self._stuck: dict[str, _Rest] = {}
        self._after: tuple[Scalar, ...] | None = None
        """Where the next round goes on; None for the longest due."""
        self._more = False

    def __repr__(self) -> str:
        return f"Sweeper({self._runner.workflow.name!r})"

    async def run(self) -> None:
        """Sweep until cancelled, or until the fence no longer holds (`CommitConflict`)."""
        failures = 0
        while True:
            try:
                await self.round()
            except CommitConflict:
                raise
            except StorageError as error:
                failures += 1
                wait = self._backoff.delay(failures, 0.0, self._random)
                _log.warning("%r waits %.1f s for the store: %s", self, wait, error)
                await self._clock.sleep(wait)
                continue
            failures = 0
            await self._clock.sleep(0.0 if self._more else self._idle)

    async def round(self) -> int:
        """Work on one batch; returns how many instances it found due.

        Raises `StoreUnavailable`, and `CommitConflict` for a fence that no longer holds.
        """
        keeper = self._runner.keeper
        query = keeper.overdue(round(self._clock.time() * 1e6), limit=self._batch)
        page = await self._store.find(dataclasses.replace(query, after=self._after))
        keys, ends = iter([keeper.key(record) for record in page.records]), list[StorageError]()
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._at_once, len(page.records))):
                group.create_task(self._work(keys, ends))
        if ends:
            raise ends[0]
        self._after = page.next
        forgotten = await self._forget()
        self._more = self._after is not None or forgotten == self._batch
        return len(page.records)

    async def _work(self, keys: Iterator[str], ends: list[StorageError]) -> None:
        """Fire the timers of one key after the other, until a worker finds the store away or the fence fallen."""
        for key in keys:
            if ends:
                return
            if self._stuck.get(key, _FREE).until > self._clock.monotonic():
                continue
            try:
                fence = self._fence(key)
                await self._runner.fire(key, also=fence)
            except StoreUnavailable as error:
                ends.append(error)
            except CommitConflict as conflict:
                if conflict.write < len(fence):
                    ends.append(conflict)
                else:
                    self._note(key, conflict)
            except Exception as error:
                self._note(key, error)
            else:
                self._stuck.pop(key, None)

    def _note(self, key: str, error: Exception) -> None:
        """Leave an instance alone for a while, longer each time."""
        wait = min(_LONGEST, 2 * self._stuck.pop(key, _FREE).wait or self._idle)
        self._stuck[key] = _Rest(wait, self._clock.monotonic() + wait)
        if len(self._stuck) > _MOST:
            del self._stuck[next(iter(self._stuck))]
        name = self._runner.workflow.name
        self._listener(InstanceStuck(name, type(error).__name__))
        _log.warning("%s: the timers of %r did not fire, again in %.0f s: %s", name, key, wait, error)

    async def _forget(self) -> int:
        workflow = self._runner.workflow
        before = round((self._clock.time() - workflow.remember) * 1e6)
        return await forget(self._store, workflow.seen.name, before=before, limit=self._batch)
