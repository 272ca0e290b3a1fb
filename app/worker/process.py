"""What the worker's process is made of, and how it ends.

It ends at once, wherever it stands: what it has not committed did not happen. So an order to stop, a parent that died
and `kill -9` come to the same for the imports, and only the first two leave the lease and the metrics in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.main.background import log_end
from app.main.compose import compose_codes, compose_store
from app.main.embedding import ImportLease
from app.main.families import IMPORT_HOLD, PRODUCT
from app.main.folders import compose_folders
from app.main.following import rules_in_force, store_limits
from app.main.importing import compose_importer, compose_imports, keep_working
from app.main.instruments import Instruments
from app.main.process import ExitDeadline, Lifeline
from astra_core.clock import SystemClock
from astra_core.events import GroupCommitted, Listeners
from astra_core.keyed import BlockingPool
from astra_core.telemetry import LIBRARY, Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from app.service import Importer
    from app.settings import Settings
    from astra_core.clock import Clock
    from astra_core.coordination import Tenure

__all__ = ["importing", "run_worker", "work_alone"]

logger = logging.getLogger(__name__)

_CHECKPOINT = 4
"""Slices between two checkpoints, which are done while the next slice is prepared."""
_SWITCH = 0.001
"""Seconds after which a thread lets go of the interpreter. What commits has the store's lock, and wants it many times a
commit, while what prepares the next slice would keep it for Python's own 5 ms each time."""
_ASKED = 1.0
"""Seconds after which a lease that nobody had is held here."""
_EXIT = 5.0
"""Seconds after which a process that should end does."""


class _Held:
    """How long the last commit kept the write lock."""

    def __init__(self, observe: Callable[[float], object]) -> None:
        self.seconds: float | None = None
        self._observe = observe

    def __call__(self, event: object) -> None:
        if isinstance(event, GroupCommitted):
            self.seconds = event.seconds
            self._observe(event.seconds)


@asynccontextmanager
async def importing(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Importer]:
    """Open all that carries imports out, and close it. Raises `StorageError` when the store cannot be used."""
    clock = clock or SystemClock()
    files = BlockingPool("files", threads=1, queue=100, clock=clock)
    metrics = Metrics((*LIBRARY, *PRODUCT), clock=clock, folder=Path(settings.metrics.folder), run=files.run)
    held = _Held(metrics.histogram(IMPORT_HOLD).observe)
    # A slice is a transaction, and so is what moves entries of a deferred index: together they would keep the lock for
    # as long as both.
    limits = replace(store_limits(settings), checkpoint=_CHECKPOINT, group=1)
    store, pools = compose_store(settings, clock, listeners=Listeners(held), limits=limits)
    codes = compose_codes(settings, store, clock=clock)
    folders = compose_folders(settings, run=files.run)
    imports = compose_imports(settings, store, run=files.run, clock=clock)
    rules = rules_in_force(settings).rules
    importer = compose_importer(
        settings, imports, store, codes, rules=lambda: rules, clock=clock, held=lambda: held.seconds
    )
    Instruments(metrics).imports(imports, importer)
    try:
        await store.open()
        await codes.open()
        await folders.open(store)
        imports.spool.settle(folders.name)
        await metrics.open(within=folders.name)
        gc.freeze()
        gc.set_threshold(settings.server.gc_threshold)
        sys.setswitchinterval(_SWITCH)
        publishing = asyncio.create_task(_publish(metrics, clock, settings.metrics.publish_interval))
        publishing.add_done_callback(log_end)
        try:
            yield importer
        finally:
            publishing.cancel()
            await metrics.close()
    finally:
        await codes.close()
        await store.close()
        for pool in (*pools, files):
            await pool.close()


async def run_worker(settings: Settings) -> None:
    """Carry out imports until none comes for a while; the parent, which holds the lease, started this process."""

    async def work() -> None:
        clock = SystemClock()
        async with importing(settings, clock=clock) as importer:
            _stand_back()
            await keep_working(importer, clock=clock, idle=settings.imports.idle)

    await _until_told(work())


def _stand_back() -> None:
    """Let this thread, which prepares rows, run where nobody else wants to, and give way at once (Linux).

    A nice process is given less, but what wakes beside it waits for the rest of its time slice: milliseconds, for a
    request. Only this thread, now that the others are there: one that has the store's write lock must not wait for
    a machine to be idle.
    """
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


async def work_alone(
    settings: Settings, *, waiting: Callable[[], object], working: Callable[[], object] = lambda: None
) -> None:
    """Carry out imports for ever, whenever the lease is held here; for `astra worker`, which nobody started.

    `waiting` is called, once, when another process has the lease at the beginning; `working` whenever it is held here.
    """

    async def work() -> None:
        clock = SystemClock()
        async with importing(settings, clock=clock) as importer:
            lease = ImportLease(importer.imports.spool.folder, clock=clock)
            await lease.open()

            async def lead(tenure: Tenure) -> None:
                working()
                await keep_working(importer, clock=clock)

            looking = asyncio.create_task(_look(lease, clock, waiting))
            try:
                await lease.leadership.run(lead)
            finally:
                looking.cancel()
                await lease.close()

    await _until_told(work())


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end, or until SIGTERM, SIGINT or the parent's death."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    deadline = ExitDeadline(_EXIT)

    def stop() -> None:
        deadline.arm()
        task.cancel()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop)
    lifeline = Lifeline.to_parent(loop)
    if lifeline is not None:
        lifeline.watch(stop)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    finally:
        if lifeline is not None:
            lifeline.close()
        deadline.cancel()


async def _look(lease: ImportLease, clock: Clock, waiting: Callable[[], object]) -> None:
    await clock.sleep(_ASKED)
    if not lease.leadership.held:
        waiting()


async def _publish(metrics: Metrics, clock: Clock, interval: float) -> None:
    while True:
        await clock.sleep(interval)
        metrics.publish()
