"""Imports in a server process: what its requests need, and whose part it is to have them carried out.

Python that computes takes the interpreter from the loop that serves, so a worker, a process of its own, does it. Of all
the processes of the machine that share store and folder one holds the lease `imports`; it starts the worker when there
is something to do, starts another when one dies, and the worker ends by itself when there is nothing left. A store
that no other process shares, or settings that none could load, leave the work to this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.main.background import log_end
from app.main.children import Worker, describe
from app.main.following import follow_imports
from app.main.importing import POLL, compose_importer, compose_imports, keep_working
from app.main.leading import lease_policy
from astra_core.coordination import Leadership, SqliteCoordination, guarded
from astra_core.errors import AstraError, CoordinationError, StorageError
from astra_core.keyed import BlockingPool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.api import Current
    from app.codes import CodeFactory
    from app.imports.spool import Run
    from app.main.live import Live
    from app.main.policies import PolicyFactory
    from app.service import Importer, ImportManager, LinkRules
    from app.settings import Settings
    from astra_core.clock import Clock
    from astra_core.coordination import CoordinationEngine, Tenure
    from astra_core.events import Listeners
    from astra_core.storage import StoreEngine

__all__ = ["EmbeddedWorker", "ImportLease", "ImportService", "compose_import_service"]

logger = logging.getLogger(__name__)

_LEASE = "imports"
_PROGRAM = Path(__file__).resolve().parents[1] / "worker" / "program.py"
_TTL = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_STEADY = 2.0
"""Seconds after which a worker that dies did not die of its start."""
_TIDY_INTERVAL = 60.0
_STOP = 0.7
"""Seconds that a worker has to end; to kill it does its imports no harm."""


class ImportLease:
    """The lease on the folder of imports, in a file of the folder: who holds it has its imports carried out.

    A server asks for it behind a policy that `policies` make; who does nothing else waits for the file itself.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock,
        listeners: Listeners | None = None,
        policies: PolicyFactory | None = None,
    ) -> None:
        self._folder = folder
        self._pools = tuple(BlockingPool(f"lease-{name}", threads=1, queue=100, clock=clock) for name in "wr")
        writer, readers = self._pools
        self._file: CoordinationEngine = SqliteCoordination(
            folder / "lease.db", writer=writer, readers=readers, clock=clock, listeners=listeners
        )
        if policies is not None:
            policy = lease_policy(policies, "import lease", self._file, ttl=_TTL)
            self._file = guarded(self._file, policy=policy)
        self.leadership = Leadership(
            self._file, _LEASE, ttl=_TTL, holder=f"process {os.getpid()}", clock=clock, listeners=listeners
        )

    async def open(self) -> None:
        """Make the folder and the file."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._file.open()

    async def close(self) -> None:
        """Close the file."""
        await self._file.close()
        for pool in self._pools:
            await pool.close()


class ImportService:
    """The part of imports that lives and ends with a server process; without a lease nothing is carried out here.

    `importer` does the work in this process, `embedded` has it done under the lease that `lease` makes for a folder.
    """

    def __init__(
        self,
        imports: ImportManager,
        *,
        clock: Clock,
        importer: Importer | None = None,
        embedded: EmbeddedWorker | None = None,
        lease: Callable[[Path], ImportLease] | None = None,
    ) -> None:
        self.imports = imports
        self.importer = importer
        self.embedded = embedded
        self._lease_on = lease
        self._lease: ImportLease | None = None
        self._clock = clock
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """There may be something to do."""
        self._wanted.set()
        if self.embedded is not None:
            self.embedded.wake()

    async def open(self, own: str) -> None:
        """Begin, in the folder `own` of the store; one that cannot be used is told of, and imports are done without."""
        self.imports.spool.settle(own)
        if self.importer is not None:
            work = keep_working(self.importer, clock=self._clock, wanted=self._wanted)
            self._task = asyncio.create_task(work)
            self._task.add_done_callback(log_end)
        elif self.embedded is not None and self._lease_on is not None:
            self._lease = self._lease_on(self.imports.spool.folder)
            try:
                await self._lease.open()
            except (CoordinationError, OSError) as error:
                logger.warning("imports are not carried out from here: %s", error)
            else:
                self._task = asyncio.create_task(self._lease.leadership.run(self.embedded.lead))
                self._task.add_done_callback(log_end)

    async def tidy(self) -> None:
        """Forget old imports and remove files left over, for ever, whoever carries imports out."""
        while True:
            try:
                await self.imports.tidy()
            except (AstraError, OSError) as error:
                logger.warning("the folder of imports is not tidied: %s", error)
            except Exception:
                logger.exception("tidying the folder of imports")
            await self._clock.sleep(_TIDY_INTERVAL)

    async def close(self) -> None:
        """End the work, or the worker that does it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=2 * _STOP)
        if self._lease is not None:
            await self._lease.close()

    def __repr__(self) -> str:
        return f"ImportService(importer={self.importer}, embedded={self.embedded})"


class EmbeddedWorker:
    """Has the imports carried out while the lease is held here."""

    def __init__(self, imports: ImportManager, *, clock: Clock, command: Sequence[str] | None = None) -> None:
        self.worker: Worker | None = None
        self.starts = 0
        self._imports = imports
        self._clock = clock
        self._command = command or (sys.executable, "-P", str(_PROGRAM))
        self._wanted = asyncio.Event()

    def wake(self) -> None:
        """There may be something to do."""
        self._wanted.set()

    async def lead(self, tenure: Tenure) -> None:
        """Run for ever; what it started has ended when it is cancelled."""
        row = 0
        while True:
            await self._something_to_do()
            since = self._clock.monotonic()
            trouble = await self._run()
            if not trouble:
                row = 0
                continue
            row = 1 if self._clock.monotonic() - since >= _STEADY else row + 1
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(row - 1, 16))
            logger.warning("the worker of imports %s; starting another in %.1f s", trouble, pause)
            await self._clock.sleep(pause)

    async def _something_to_do(self) -> None:
        while True:
            self._wanted.clear()
            with contextlib.suppress(StorageError):  # it is away: the next look will do
                if await self._imports.next_open() is not None:
                    return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._wanted.wait()

    async def _run(self) -> str:
        """Run one worker to its end; return what went wrong, "" if nothing did."""
        try:
            worker = self.worker = await Worker.start(self._command, fds=(), environ=os.environ)
        except OSError as error:
            return f"could not be started: {error}"
        self.starts += 1
        try:
            code = await worker.ended()
        finally:
            self.worker = None
            await asyncio.shield(_stop(worker))
        return "" if code == 0 else describe(code)

    def __repr__(self) -> str:
        return f"EmbeddedWorker(worker={self.worker}, starts={self.starts})"


async def _stop(worker: Worker) -> None:
    """Have it end, if it has not."""
    worker.terminate()
    try:
        async with asyncio.timeout(_STOP):
            await worker.ended()
    except TimeoutError:
        worker.kill()
        await worker.ended()


def compose_import_service(
    settings: Settings,
    store: StoreEngine,
    codes: CodeFactory,
    live: Live,
    current: Current,
    *,
    policies: PolicyFactory,
    shared: bool,
    run: Run,
    clock: Clock,
) -> ImportService:
    """Build it; `shared` is whether another process could load these settings too."""
    imports = compose_imports(settings, store, run=run, clock=clock)
    follow_imports(live, imports)
    if not settings.imports.worker:
        return ImportService(imports, clock=clock)
    if not shared or settings.store.engine == "memory":
        rules = _rules_of(current)
        return ImportService(
            imports, clock=clock, importer=compose_importer(settings, imports, store, codes, rules=rules, clock=clock)
        )
    embedded = EmbeddedWorker(imports, clock=clock)
    lease = partial(ImportLease, clock=clock, policies=policies)
    return ImportService(imports, clock=clock, embedded=embedded, lease=lease)


def _rules_of(current: Current) -> Callable[[], LinkRules]:
    return lambda: current.value.rules
