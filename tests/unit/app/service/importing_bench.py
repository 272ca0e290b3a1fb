"""A manager of imports and two importers over one store, whose commits of slices can be made to go wrong."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from app.api import draft_of_row, report_of
from app.codes import SYSTEM, CodeFactory
from app.imports import IMPORTS, REPORTS, Format, ImportState, Spool
from app.links import LINKS, LinkRepository
from app.service import Importer, ImportManager, ImportSnapshot, SliceCreator, SlicePace, Upload
from astra_core.errors import CommitInDoubt, StoreUnavailable
from astra_core.storage import Insert, MemoryStore
from astra_core.testing import FakeClock
from tests.unit.app.service.made import RULES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from app.service.importing import DraftOf, ReportOf
    from astra_core.storage import Record, Write

__all__ = ["ROWS", "SLICE", "Bench", "Slices", "urls"]

T = TypeVar("T")

ROWS = 100
SLICE = 10


class Slices(MemoryStore):
    """Numbers the commits of slices from 1; one may have a rival, fail, or happen and not be answered.

    Of other commits the next one may be the last thing that is heard of it: `going`, then `away`.
    """

    def __init__(self) -> None:
        super().__init__(collections=(LINKS, SYSTEM, *IMPORTS))
        self.number = 0
        self.away = False
        self.going = False
        self.rivals: dict[int, Callable[[], Awaitable[object]]] = {}
        self.failures: dict[int, Exception] = {}

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Let the rival go first, then commit."""
        if not any(isinstance(write, Insert) and write.collection == REPORTS.name for write in writes):
            written = await super().commit(writes)
            self.away = self.going
            return written
        self.number += 1
        rival = self.rivals.pop(self.number, None)
        if rival is not None:
            await rival()
        failure = self.failures.pop(self.number, None)
        if failure is not None and not isinstance(failure, CommitInDoubt):
            raise failure
        results = await super().commit(writes)
        if failure is not None:
            raise failure
        return results

    async def get(self, collection: str, key: str) -> Record | None:
        """Read, unless away."""
        if self.away:
            raise StoreUnavailable("away")
        return await super().get(collection, key)


async def at_once(call: Callable[..., T], /, *args: Any) -> T:
    """Stand where a thread calls what blocks."""
    return call(*args)


@dataclass
class Bench:
    """A manager and two importers over one store and one folder."""

    folder: Path
    store: Slices = field(default_factory=Slices)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.codes = CodeFactory(self.store, clock=self.clock)
        self.links = LinkRepository(self.store, keys=self.codes)
        spool = Spool(
            self.folder,
            largest=2**20,
            quota=2**24,
            uploads=2,
            patience=5.0,
            least_rate=0,
            run=at_once,
            clock=self.clock,
        )
        self.imports = ImportManager(self.store, spool, keep=3_600.0, clock=self.clock, entropy=os.urandom)
        self.first, self.second = (self.importer(name) for name in ("first", "second"))

    def importer(
        self, name: str, *, draft: DraftOf = draft_of_row, report: ReportOf = report_of, most: int = SLICE
    ) -> Importer:
        """Another worker."""
        return Importer(
            self.imports,
            SliceCreator(self.store, self.links, self.codes, clock=self.clock),
            draft=draft,
            report=report,
            rules=lambda: RULES,
            pace=SlicePace(most=most, hold=1.0, pause=0.0),
            clock=self.clock,
            name=name,
        )

    async def begin(self, rows: list[Any], *, behind: bytes = b"") -> str:
        """Upload a file of rows, and of what lies behind them."""
        left = [b"\n".join(json.dumps(row).encode() for row in rows) + behind, b""]

        async def read() -> bytes:
            return left.pop(0)

        upload = Upload(name="x", kind=Format.NDJSON, report=Format.NDJSON, base="http://short")
        return (await self.imports.begin(upload, read)).key

    async def check(self, key: str, rows: int = ROWS) -> ImportSnapshot:
        """Whatever happened: every row has one line and one link, and the counts are theirs."""
        found = await self.imports.get(key)
        report = [json.loads(line) async for part in self.imports.report(found) for line in part.splitlines()]
        assert [line["row"] for line in report] == list(range(1, rows + 1))
        assert (found.state, found.progress.done) == (ImportState.DONE, rows)
        assert found.progress.failed == sum("problem" in line for line in report)
        for line in report:
            if line["status"] == 201:
                stored = await self.links.get(line["code"])
                assert stored is not None
                assert stored.link.url == f"https://a.example/{line['row']}"
        assert len({line["code"] for line in report if line["status"] == 201}) == found.progress.created
        newest = await self.links.page(base=None, tag=None, contains="a.example", after=None, limit=1_000)
        assert len(newest.links) == found.progress.created
        return found


def urls(count: int = ROWS) -> list[Any]:
    """Rows that are all good."""
    return [{"url": f"https://a.example/{number}"} for number in range(1, count + 1)]
