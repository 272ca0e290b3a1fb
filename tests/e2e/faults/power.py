"""The service's own objects over disks that forget what was not synced, and what a cut leaves of their data."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from app.clicks import VISITS, ClickCounter, Journal
from app.clicks.segment import SUFFIX, Segment
from app.codes import SYSTEM, CodeFactory
from app.domain import own_places
from app.links import LINKS, LinkRepository, Resolver
from app.service import IDEMPOTENCY, Answer, Draft, IdempotencyKeys, LinkCreator, LinkRules
from astra_core.clock import SystemClock
from astra_core.keyed import BlockingPool
from astra_core.storage import SqliteStore
from tests.integration.sqlite.powercut import Adapted, ForgetfulDisk

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from app.domain import Link
    from app.service import Outcome

__all__ = ["Cut", "ForgetfulPool", "Service", "running"]

T = TypeVar("T")
CLOCK = SystemClock()


RULES = LinkRules(own_hosts=own_places(["localhost"]), allow_credentials=False, max_url=8192, redirect_status=302)


class ForgetfulPool(BlockingPool):
    """The journal's pool of threads, which notes what each segment held when its last completed sync began.

    Being made includes a sync, and so does the removal of a name: until that is through, a cut brings the name back.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("journal", threads=1, queue=100)
        self._folder = folder
        self.durable: dict[str, bytes] = {}
        self.syncs = 0

    async def run(self, call: Callable[..., T], *args: object, deadline: float | None = None) -> T:
        """Run `call` in the thread, and note what it made durable."""
        return await super().run(self._watched, call, *args, deadline=deadline)

    def _watched(self, call: Callable[..., T], *args: object) -> T:
        if getattr(call, "__func__", None) is Segment.sync:
            path: Path = call.__self__.path  # type: ignore[attr-defined]
            content = path.read_bytes()
            result = call(*args)
            self.durable[path.name] = content
            self.syncs += 1
            return result
        result = call(*args)
        if self._folder.exists():
            there = {path.name: path for path in self._folder.glob("*" + SUFFIX)}
            made = {name: path.read_bytes() for name, path in there.items() if name not in self.durable}
            self.durable = {name: content for name, content in self.durable.items() if name in there} | made
        return result


@dataclass(frozen=True, slots=True)
class Cut:
    """What was acknowledged by a moment, and what a power cut then leaves."""

    at: float
    links: dict[str, Link]
    clicks: int
    clicks_before: int
    """Those recorded until the sync interval before the moment."""
    database: dict[str, bytes]
    journal: dict[str, bytes]

    def lay_out(self, folder: Path) -> Path:
        """Write what is left into a folder."""
        (folder / "journal").mkdir(parents=True)
        for suffix, content in self.database.items():
            (folder / f"astra.db{suffix}").write_bytes(content)
        for name, content in self.journal.items():
            (folder / "journal" / name).write_bytes(content)
        return folder


@dataclass(slots=True)
class Service:
    """The parts of the application that acknowledge something, put together as the composition root does."""

    store: SqliteStore
    journal: Journal
    counter: ClickCounter
    creator: LinkCreator
    repository: LinkRepository
    links: dict[str, Link] = field(default_factory=dict)
    clicks: list[float] = field(default_factory=list)

    async def create(self, url: str, **more: object) -> None:
        """Create a link; with the return it is acknowledged."""
        made: list[Link] = []

        async def render(outcomes: list[Outcome]) -> Answer:
            assert outcomes[0].snapshot is not None
            made[:] = [outcomes[0].snapshot.link]
            return Answer(201, (), b"")

        await self.creator.create([Draft(url=url, **more)], rules=RULES, render=render)  # type: ignore[arg-type]
        self.links[made[0].code] = made[0]

    def click(self, code: str) -> None:
        """Record a click; with the return it may be answered."""
        assert self.journal.record(code.encode())
        self.clicks.append(time.monotonic())

    async def visits(self) -> int:
        """Return how many clicks are counted."""
        return sum((await self.store.counts(VISITS, [*self.links])).values())


@asynccontextmanager
async def running(
    folder: Path,
    *,
    disk: ForgetfulDisk | None = None,
    pool: BlockingPool | None = None,
    synchronous: str = "FULL",
    sync_interval: float = 1.0,
) -> AsyncIterator[Service]:
    """Open a service on `folder`; without a forgetful disk and pool on the real ones."""
    writer, readers = (BlockingPool(name, threads=1, queue=1000) for name in ("writer", "readers"))
    files = pool or BlockingPool("journal", threads=1, queue=100)

    def connect(name: str, /) -> sqlite3.Connection:
        assert disk is not None
        return cast("sqlite3.Connection", Adapted(name, disk, synchronous=synchronous))

    collections = (LINKS, IDEMPOTENCY, SYSTEM)
    store = SqliteStore(
        folder / "astra.db",
        collections=collections,
        writer=writer,
        readers=readers,
        connect=None if disk is None else connect,
    )
    journal = Journal(
        folder / "journal",
        segment_size=256 * 1024,
        quota=64 * 2**20,
        sync_interval=sync_interval,
        clock=CLOCK,
        pool=files,
    )
    codes = CodeFactory(store, region=0, block=100, key=None, clock=CLOCK)
    repository = LinkRepository(store, keys=codes)
    resolver = Resolver(repository, clock=CLOCK, capacity=100, negative_capacity=100, ttl=5.0)
    keys = IdempotencyKeys(store, ttl=3600, clock=CLOCK)
    creator = LinkCreator(store, repository, codes, resolver, keys, clock=CLOCK)
    counter = ClickCounter(journal, store, interval=0.3, adopt_interval=2.0, clock=CLOCK)
    await store.open()
    await codes.open()
    await journal.open()
    try:
        yield Service(store, journal, counter, creator, repository)
    finally:
        await journal.close()
        await codes.close()
        await store.close()
        for each in (writer, readers, files):
            await each.close()


@contextlib.asynccontextmanager
async def beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines for as long as the context lasts; one that fails fails the test."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    faults = [error for error in ended if isinstance(error, Exception)]
    if faults:
        raise ExceptionGroup("beside", faults)
