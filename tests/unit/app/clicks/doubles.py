"""What the tests of the journal are made of: a pool without threads, stores that fail on cue, and a crash."""

from __future__ import annotations

import asyncio
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from app.clicks import ClickCounter, Journal
from app.clicks.counter import VISITS
from astra_core.errors import StoreUnavailable
from astra_core.keyed import BlockingPool
from astra_core.storage import MemoryStore
from astra_core.storage.writes import Add
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from astra_core.storage.writes import Write

T = TypeVar("T")

SEGMENT = 1024


class InlinePool(BlockingPool):
    """Runs each call at once in the loop, one turn after it was asked and one before it answers."""

    def __init__(self) -> None:
        super().__init__("inline", threads=1, queue=0)

    async def run(self, call: Callable[..., T], *args: Any, deadline: float | None = None) -> T:
        """Run it."""
        await asyncio.sleep(0)
        result = call(*args)
        await asyncio.sleep(0)
        return result


class SlowPool(InlinePool):
    """Does the work, but its callers were told that it took too long."""

    async def run(self, call: Callable[..., T], *args: Any, deadline: float | None = None) -> T:
        """Run it, and raise."""
        await super().run(call, *args)
        raise TimeoutError("the call did not end before its deadline")


class Store(MemoryStore):
    """A store that takes a turn before and after each commit, keeps what was committed, and may be away."""

    def __init__(self) -> None:
        super().__init__(collections=())
        self.away = False
        self.commits: list[Sequence[Write]] = []

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Commit in the second turn."""
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("away")
        results = await super().commit(writes)
        self.commits.append(writes)
        await asyncio.sleep(0)
        return results

    async def positions(self) -> Mapping[str, int]:
        """Answer in the second turn."""
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("away")
        return await super().positions()

    @property
    def adds(self) -> list[Add]:
        """The increments committed, in order."""
        return [write for writes in self.commits for write in writes if isinstance(write, Add)]

    async def visits(self, *codes: str) -> list[int]:
        """Return the counts of codes."""
        return list((await self.counts(VISITS, codes)).values())


class LateStore(Store):
    """Hands a commit over and does it only when told: the caller may be gone by then, as the port allows."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.handed: list[asyncio.Task[tuple[int, ...]]] = []

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Commit once `go` is set, whether or not the caller still waits."""
        task = asyncio.get_running_loop().create_task(self._later(writes))
        self.handed.append(task)
        return await asyncio.shield(task)

    async def _later(self, writes: Sequence[Write]) -> tuple[int, ...]:
        await self.go.wait()
        return await super().commit(writes)


class Bench:
    """One folder and one store, and the processes that come and go over them."""

    def __init__(self, folder: Path, store: Store | None = None) -> None:
        self.folder = folder
        self.store = store or Store()
        self.clock = FakeClock()
        self.journals: list[Journal] = []
        self._names = 0

    def journal(
        self,
        *,
        size: int = SEGMENT,
        quota: int = 100 * SEGMENT,
        pool: BlockingPool | None = None,
        sync_interval: float = 1.0,
    ) -> Journal:
        """Return the journal of a new process, not opened."""
        journal = Journal(
            self.folder,
            segment_size=size,
            quota=quota,
            sync_interval=sync_interval,
            clock=self.clock,
            pool=pool or InlinePool(),
            entropy=self._name,
        )
        self.journals.append(journal)
        return journal

    async def process(self, *, size: int = SEGMENT, quota: int = 100 * SEGMENT) -> tuple[Journal, ClickCounter]:
        """Start a process: its journal is open."""
        await self.store.open()
        journal = self.journal(size=size, quota=quota)
        await journal.open()
        return journal, ClickCounter(journal, self.store, clock=self.clock)

    async def settle(self) -> None:
        """Count whatever is left, as the next process would."""
        for journal in self.journals:
            crash(journal)
        _, counter = await self.process()
        await counter.adopt()
        await counter.count()

    def files(self) -> list[str]:
        """Return the names in the folder."""
        return sorted(path.name for path in self.folder.iterdir())

    def _name(self, size: int) -> bytes:
        self._names += 1
        return self._names.to_bytes(size, "big")


def crash(journal: Journal) -> None:
    """Let go of every lock, as the end of a process does, and of nothing else."""
    segments = [*journal.pending, journal._spare, *journal._made, *journal._orphans]
    for segment in segments:
        if segment is not None:
            segment.close()
    journal._sealed.clear()
    journal._made.clear()
    journal._orphans.clear()
    journal._current = journal._spare = None


def fill(journal: Journal, code: str) -> int:
    """Record clicks until one went into the next segment; returns how many the one left behind took."""
    current, stored = journal.pending[-1], -1
    while journal.pending[-1] is current:
        assert journal.record(code.encode())
        stored += 1
    return stored


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that other tasks or threads bring about; ten seconds at most."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come about")


@contextmanager
def no_room(limit: int = 512) -> Iterator[None]:
    """Let the system refuse files longer than `limit` bytes to this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
