"""What carries imports out, put together: for the worker's process, and for a server that has nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from app.api import draft_of_row, report_of
from app.imports import Spool
from app.links import LinkRepository
from app.main.leading import announced
from app.service import Importer, ImportManager, SliceCreator, SlicePace
from astra_core.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.codes import CodeFactory
    from app.imports.spool import Run
    from app.service import LinkRules
    from app.settings import Settings
    from astra_core.clock import Clock
    from astra_core.storage import StoreEngine

__all__ = ["POLL", "compose_importer", "compose_imports", "keep_working"]

logger = logging.getLogger(__name__)

POLL = 0.5
"""Seconds between two looks for something to do."""
_TROUBLE = 2.0
"""Seconds before the next try when the store, or the disk, does not take it."""


def compose_imports(settings: Settings, store: StoreEngine, *, run: Run, clock: Clock) -> ImportManager:
    """Build what requests need."""
    options = settings.imports
    spool = Spool(
        Path(options.folder),
        largest=options.max_file,
        quota=options.quota,
        uploads=options.uploads,
        patience=options.patience,
        least_rate=options.least_rate,
        run=run,
        clock=clock,
    )
    return ImportManager(store, spool, keep=options.keep, clock=clock, entropy=os.urandom)


def compose_importer(
    settings: Settings,
    imports: ImportManager,
    store: StoreEngine,
    codes: CodeFactory,
    *,
    rules: Callable[[], LinkRules],
    clock: Clock,
    held: Callable[[], float | None] = lambda: None,
) -> Importer:
    """Build what carries imports out."""
    options = settings.imports
    return Importer(
        imports,
        SliceCreator(store, LinkRepository(store, keys=codes, announce=announced(settings)), codes, clock=clock),
        draft=draft_of_row,
        report=report_of,
        rules=rules,
        pace=SlicePace(most=options.rows, hold=options.hold, pause=options.pause),
        clock=clock,
        held=held,
        name=f"worker {os.getpid()}",
    )


async def keep_working(
    importer: Importer, *, clock: Clock, idle: float | None = None, wanted: asyncio.Event | None = None
) -> None:
    """Carry out whatever comes, for ever, or until nothing came for `idle` seconds; `wanted` ends a wait early."""
    wanted = wanted or asyncio.Event()
    since = clock.monotonic()
    while idle is None or clock.monotonic() - since < idle:
        wanted.clear()
        try:
            worked = await importer.work()
        except (StorageError, OSError) as error:
            logger.warning("an import waits %g s: %s", _TROUBLE, error)
            await clock.sleep(_TROUBLE)
            continue
        except Exception:
            # A row may have done it: the import counts its tries, and the others behind it are not held up for ever.
            logger.exception("an import went wrong; it is tried again in %g s", _TROUBLE)
            await clock.sleep(_TROUBLE)
            continue
        if worked:
            since = clock.monotonic()
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await wanted.wait()
