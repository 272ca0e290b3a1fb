"""Carrying imports out: one at a time, slice by slice, each slice one commit with the place that it reached.

Nothing that this process remembers decides anything. It takes an import, which moves the version of its record, and
reads how far it has come; each commit requires that version and replaces that progress. So a slice is there with its
place or not at all, whenever the process is killed, and one who was overtaken cannot write.
"""

from __future__ import annotations

import logging
from collections import Counter
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
from app.service.turns import in_turns
from astra_core.errors import CommitConflict, StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
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

_LOOK = 1.0
"""Seconds before the import is looked at again, which may have been paused or cancelled."""
_LINES = 20
"""Lines of a report written at once: under a millisecond."""
_TRIES = 4
"""Workers that may end at one row, before it is taken for the cause; from the second on rows are made one by one."""
_SINGLY = 128
"""Rows made one by one, so that the place shows at which of them a worker ends."""


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
        self._let_go = ""

    async def work(self) -> bool:
        """Carry the next import as far as it goes; False when there is none to carry.

        Raises `StoreUnavailable`, and `OSError` when the file cannot be read; the next call goes on from there.
        """
        key = await self.imports.next_open()
        if key is None:
            return False
        try:
            await self._carry(key)
        except (StorageError, OSError):  # nothing that the import is to blame for
            self._let_go = key
            raise
        return True

    async def _carry(self, key: str) -> None:
        anew, self._let_go = self._let_go == key, ""
        before = await self.imports.get(key)
        since = before.version
        try:
            taken = await self.imports.send(key, Take(before.progress.done, anew), by=self._name)
            since = taken.version
            await self._through(taken)
        except (CommitConflict, NotAllowed):
            self._let_go = key
            logger.info("import %s %s", key, await self.imports.interruption(key, since=since))

    async def _through(self, taken: ImportSnapshot) -> None:
        key = taken.key
        try:
            if taken.about.tries > _TRIES:
                raise InvalidImport(_poisonous(taken))
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
        counts = taken.progress.created, taken.progress.reused, taken.progress.failed
        logger.info("import %s is %s: %d links made, %d reused, %d rows failed", key, taken.state, *counts)

    async def _validate(self, taken: ImportSnapshot, file: BinaryIO, layout: Layout) -> ImportSnapshot:
        rows = 0
        async for _ in self._rows(taken, rows_of(file, layout, layout.start)):
            rows += 1
        if not rows:
            raise InvalidImport("The file holds no rows.")
        return await self.imports.send(taken.key, Validated(rows), by=self._name, at=taken.version)

    async def _run(self, taken: ImportSnapshot, file: BinaryIO, layout: Layout) -> None:
        progress, version = taken.progress, taken.progress_version
        rows = self._rows(taken, rows_of(file, layout, progress.place if progress.done else layout.start))
        since: float | None = None
        async for slice_ in _slices(rows, self.pace, singly=_SINGLY if taken.about.tries > 1 else 0):
            progress, since = await self._slice(taken, slice_, progress, version, since)
            version += 1
            await self._clock.sleep(self.pace.pause)

    async def _rows(self, taken: ImportSnapshot, steps: Iterator[Row | None]) -> AsyncIterator[Row]:
        """Yield the rows for as long as the import is not moved, however long there is none. Raises `NotAllowed`."""
        monotonic = self._clock.monotonic
        look = monotonic() + _LOOK
        async for row in in_turns(steps, monotonic=monotonic):
            if monotonic() >= look:
                if await self.imports.version(taken.key) != taken.version:
                    raise NotAllowed(taken.key, state="", reason="import was moved meanwhile")
                look = monotonic() + _LOOK
            if row is not None:
                yield row

    async def _slice(
        self, taken: ImportSnapshot, rows: Sequence[Row], before: Progress, version: int, since: float | None
    ) -> tuple[Progress, float]:
        """Make the links of some rows, and return where that leads, and when.

        `since` is when the slice before was as far as this one is then, None for the first: between the two lies all
        that a slice costs, its commit and the pause too.
        """
        about, monotonic = taken.about, self._clock.monotonic
        after, at = before, 0.0

        async def beside(outcomes: list[Outcome]) -> Sequence[Write]:
            nonlocal after, at
            at = monotonic()
            parts = in_turns(range(0, len(rows), _LINES), monotonic=monotonic)
            lines = [self._report(about, rows[n : n + _LINES], outcomes[n : n + _LINES]) async for n in parts]
            report = b"".join(lines)
            became = Counter(map(_became, outcomes))
            after = replace(
                before,
                place=rows[-1].place,
                created=before.created + became["created"],
                reused=before.reused + became["reused"],
                failed=before.failed + became["failed"],
                report=before.report + len(report),
                speed=before.speed if since is None else before.speed.after(len(rows), at - since),
            )
            return moved(taken.key, after, report, version=version, taken=taken.version)

        drafts = [self._draft(row, about.via) async for row in in_turns(rows, monotonic=monotonic)]
        committing = monotonic()
        outcomes = await self._creator.create(drafts, rules=self._rules(), beside=beside)
        held = self._held()
        if len(rows) > 1:  # one row tells nothing of the cost of many
            self.pace.observe(len(rows), monotonic() - committing if held is None else held)
        self.rows.update(map(_became, outcomes))
        return after, at


async def _slices(rows: AsyncIterator[Row], pace: SlicePace, *, singly: int) -> AsyncIterator[list[Row]]:
    slice_: list[Row] = []
    async for row in rows:
        slice_.append(row)
        if singly or len(slice_) >= pace.rows:
            yield slice_
            singly, slice_ = max(0, singly - 1), []
    if slice_:
        yield slice_


def _became(outcome: Outcome) -> str:
    if outcome.error is not None:
        return "failed"
    return "created" if outcome.created else "reused"


def _poisonous(taken: ImportSnapshot) -> str:
    if taken.state is ImportState.VALIDATING:
        return f"The worker ended {_TRIES} times while it looked at the file; nothing was made of it."
    row = taken.progress.done + 1
    return f"Row {row} ended the worker {_TRIES} times; the rows before it are made. Send the others without it."
