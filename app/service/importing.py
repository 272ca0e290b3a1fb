"""Carrying imports out: one at a time, slice by slice, each slice one commit with the place that it reached.

Nothing that this process remembers decides anything. It takes an import, which moves the version of its record, and
reads how far it has come; each commit requires that version and replaces that progress. So a slice is there with its
place or not at all, whenever the process is killed, and one who was overtaken cannot write.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from app.imports import (
    HEAD,
    Fail,
    Finish,
    ImportState,
    InvalidImport,
    Take,
    Validated,
    layout_of,
    moved,
    rows_of,
)
from app.service.errors import NotAllowed
from astra_core.errors import CommitConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from app.imports import Import, Layout, Progress, Row
    from app.service.bulk import SliceCreator
    from app.service.drafts import Draft, LinkRules
    from app.service.imports import ImportManager, ImportSnapshot
    from app.service.pace import SlicePace
    from app.service.planning import Outcome
    from astra_core.clock import Clock
    from astra_core.errors import AstraError
    from astra_core.storage.writes import Write

__all__ = ["DraftOf", "Importer", "ReportOf"]

logger = logging.getLogger(__name__)

_TURN = 2_000
"""Rows counted before the loop is let go: some milliseconds."""
_LOOK = 100_000
"""Rows counted before the import is looked at again, which may have been paused or cancelled."""


class DraftOf(Protocol):
    """Reads a row: the link it asks for, or the error that refuses it. `via` is the host that the file was sent to."""

    def __call__(self, row: Row, via: str, /) -> Draft | AstraError:
        """Read one row."""
        ...


class ReportOf(Protocol):
    """Writes the report of a slice in the format, and with the base of short URLs, that the import asks for."""

    def __call__(self, about: Import, rows: Sequence[Row], outcomes: Sequence[Outcome], /) -> bytes:
        """Write one line a row."""
        ...


class Importer:
    """Does what there is to do. `held` returns how long the last commit kept the write lock, None if nobody knows.

    Counts for metrics: `rows` by what became of them.
    """

    def __init__(
        self,
        imports: ImportManager,
        creator: SliceCreator,
        *,
        draft: DraftOf,
        report: ReportOf,
        rules: Callable[[], LinkRules],
        pace: SlicePace,
        clock: Clock,
        held: Callable[[], float | None] = lambda: None,
        name: str = "",
    ) -> None:
        """`name` says in the history who took an import."""
        self.rows: Counter[str] = Counter()
        self.imports = imports
        self.pace = pace
        self._creator = creator
        self._draft = draft
        self._report = report
        self._rules = rules
        self._clock = clock
        self._held = held
        self._name = name

    async def work(self) -> bool:
        """Carry the next import as far as it goes; False when there is none to carry.

        Raises `StoreUnavailable`, and `OSError` when the file cannot be read; the next call goes on from there.
        """
        key = await self.imports.next_open()
        if key is None:
            return False
        try:
            await self._carry(key)
        except (CommitConflict, NotAllowed):
            logger.info("import %s was taken over, paused or cancelled", key)
        return True

    async def _carry(self, key: str) -> None:
        taken = await self.imports.send(key, Take(), by=self._name)
        try:
            with self.imports.spool.open(key) as file:
                layout = layout_of(file.read(HEAD), taken.about.kind)
                if taken.state is ImportState.VALIDATING:
                    taken = await self._validate(taken, file, layout)
                await self._run(taken, file, layout)
        except (InvalidImport, FileNotFoundError) as error:
            reason = error.detail if isinstance(error, InvalidImport) else "The uploaded file is gone; upload it again."
            taken = await self.imports.send(key, Fail(reason), by=self._name, at=taken.version)
        else:
            taken = await self.imports.send(key, Finish(), by=self._name, at=taken.version)
        await self.imports.spool.drop(key)
        logger.info("import %s is %s: %d rows made links, %d failed", key, taken.state, *_counts(taken.progress))

    async def _validate(self, taken: ImportSnapshot, file: BinaryIO, layout: Layout) -> ImportSnapshot:
        rows = 0
        for _ in rows_of(file, layout, layout.start):
            rows += 1
            if not rows % _TURN:
                await asyncio.sleep(0)
            if not rows % _LOOK and await self.imports.version(taken.key) != taken.version:
                raise NotAllowed(taken.key, state="", reason="import was moved meanwhile")
        if not rows:
            raise InvalidImport("The file holds no rows.")
        return await self.imports.send(taken.key, Validated(rows), by=self._name, at=taken.version)

    async def _run(self, taken: ImportSnapshot, file: BinaryIO, layout: Layout) -> None:
        progress, version = taken.progress, taken.progress_version
        rows = rows_of(file, layout, progress.place if progress.done else layout.start)
        for slice_ in _slices(rows, self.pace):
            progress = await self._slice(taken, slice_, progress, version)
            version += 1
            await self._clock.sleep(self.pace.pause)

    async def _slice(self, taken: ImportSnapshot, rows: Sequence[Row], before: Progress, version: int) -> Progress:
        """Make the links of some rows, and return where that leads."""
        about, began = taken.about, self._clock.monotonic()
        after = before

        def beside(outcomes: list[Outcome]) -> Sequence[Write]:
            nonlocal after
            report = self._report(about, rows, outcomes)
            became = Counter(map(_became, outcomes))
            after = replace(
                before,
                place=rows[-1].place,
                created=before.created + became["created"],
                reused=before.reused + became["reused"],
                failed=before.failed + became["failed"],
                report=before.report + len(report),
                seconds=before.seconds + self._clock.monotonic() - began + self.pace.pause,
            )
            return moved(taken.key, after, report, version=version, taken=taken.version)

        drafts = [self._draft(row, about.via) for row in rows]
        committing = self._clock.monotonic()
        outcomes = await self._creator.create(drafts, rules=self._rules(), beside=beside)
        held = self._held()
        self.pace.observe(len(rows), self._clock.monotonic() - committing if held is None else held)
        self.rows.update(map(_became, outcomes))
        return after


def _slices(rows: Iterator[Row], pace: SlicePace) -> Iterator[list[Row]]:
    while slice_ := list(islice(rows, pace.rows)):
        yield slice_


def _became(outcome: Outcome) -> str:
    if outcome.error is not None:
        return "failed"
    return "created" if outcome.created else "reused"


def _counts(progress: Progress) -> tuple[int, int]:
    return progress.created + progress.reused, progress.failed
