"""What is stored of an import: the instance of its machine, how far it has come, and the report of each slice.

Instance and progress are two records, because they have two writers. The instance moves with events, a few times in its
life. Progress moves with every slice of rows, in the commit that makes their links and leaves their report, and that
commit requires the instance's version.
"""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from app.imports.layout import Format, Place
from app.imports.states import FINAL, IMPORT, Fail, ImportEvent, ImportState, Resume, Take, Validated
from astra_core.storage.records import Collection, Index, Query
from astra_core.storage.writes import Delete, Insert, Replace, Require
from astra_core.workflow import Workflow

if TYPE_CHECKING:
    from astra_core.fsm import Decision
    from astra_core.storage.records import Record
    from astra_core.storage.writes import Scalar, Write

__all__ = [
    "IMPORTS",
    "LIFE",
    "PROGRESS",
    "REPORTS",
    "Import",
    "Progress",
    "Speed",
    "begun",
    "forgotten",
    "moved",
    "newest",
    "progress_in",
    "slices",
]


_WINDOW = 10.0
"""Seconds after which what an import did counts for a third of what it does."""


class Import(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An import as its machine holds it; times in microseconds since the epoch.

    `base` is what the short URLs in its report begin with, `via` the host it was sent to. `rows` is known once the
    whole file was looked at. `tries` counts how often a worker took it at row `tried`: of one that is well the first
    try goes on, so each before the last one ended with its worker.
    """

    name: str
    kind: Format
    report: Format
    size: int
    base: str
    via: str = ""
    created_at: int
    rows: int | None = None
    reason: str = ""
    started_at: int | None = None
    finished_at: int | None = None
    tried: int = 0
    tries: int = 0


class Speed(Struct, frozen=True, omit_defaults=True):
    """Rows, and the seconds they took by the wall clock, of which those long past count less and less."""

    rows: float = 0.0
    seconds: float = 0.0

    def after(self, rows: int, seconds: float) -> Speed:
        """Return the speed when `rows` more took `seconds` more."""
        kept = exp(-seconds / _WINDOW)
        return Speed(self.rows * kept + rows, self.seconds * kept + seconds)

    @property
    def rate(self) -> float | None:
        """Rows a second, None before anything was measured."""
        return self.rows / self.seconds if self.seconds else None


class Progress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far an import has come: where the last row ended, what became of all until there, and their report.

    `report` is the size of that report in bytes, `speed` what it made of late.
    """

    created_at: int
    place: Place = Place()
    created: int = 0
    reused: int = 0
    failed: int = 0
    report: int = 0
    speed: Speed = Speed()

    @property
    def done(self) -> int:
        """Rows that were looked at."""
        return self.created + self.reused + self.failed


def _evolve(data: Import, decision: Decision[ImportState, ImportEvent], now: float) -> Import:
    at = round(now * 1e6)
    match decision.event:
        case Validated(rows):
            data = replace(data, rows=rows)
        case Fail(reason):
            data = replace(data, reason=reason)
        case Take(rows, anew):
            tries = 1 if anew or rows != data.tried else data.tries + 1
            data = replace(data, started_at=at if data.started_at is None else data.started_at, tried=rows, tries=tries)
        case Resume():
            data = replace(data, tries=0)
        case _:
            pass
    return replace(data, finished_at=at) if decision.target in FINAL else data


def _is_validated(data: Import, now: float) -> bool:
    return data.rows is not None


LIFE: Workflow[ImportState, ImportEvent, bool, Import] = Workflow(
    machine=IMPORT, data=Import, reads=bool, context=_is_validated, evolve=_evolve
)
_NEWEST = "newest"
PROGRESS = Collection(name="import_progress", indexes=(Index(name=_NEWEST),))
_SLICE = "slice"
REPORTS = Collection(name="import_reports", indexes=(Index(name=_SLICE, parts=2),))
IMPORTS = (*LIFE.collections, PROGRESS, REPORTS)
"""What a store must be told of to keep imports."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Progress).decode


def progress_in(record: Record) -> Progress:
    """Return the progress that a record holds."""
    return _decode(record.value)


def begun(key: str, progress: Progress) -> Write:
    """Return what to commit beside the beginning of an import."""
    entries = {_NEWEST: ((progress.created_at,),)}
    return Insert(collection=PROGRESS.name, key=key, value=_encode(progress), entries=entries)


def moved(key: str, progress: Progress, report: bytes, *, version: int, taken: int) -> list[Write]:
    """Return what to commit beside the links of a slice: the first of it refuses whoever was overtaken.

    `version` is that of the progress before, `taken` that at which the worker took the import.
    """
    entries = {_NEWEST: ((progress.created_at,),)}
    place = {_SLICE: ((key, progress.place.row),)}
    return [
        Require(collection=LIFE.name, key=key, version=taken),
        Replace(collection=PROGRESS.name, key=key, version=version, value=_encode(progress), entries=entries),
        Insert(collection=REPORTS.name, key=f"{key}:{progress.place.row}", value=report, entries=place),
    ]


def forgotten(key: str, *, version: int) -> list[Write]:
    """Return what to commit to forget an import that stands at `version`; its history stays."""
    return [Delete(collection=LIFE.name, key=key, version=version), Delete(collection=PROGRESS.name, key=key)]


def slices(key: str, *, after: tuple[Scalar, ...] | None, limit: int) -> Query:
    """Return the query for the report of an import, slice by slice; each stands at its last row."""
    return Query(collection=REPORTS.name, index=_SLICE, prefix=(key,), after=after, limit=limit)


def newest(*, after: tuple[Scalar, ...] | None, limit: int) -> Query:
    """Return the query for the progress of imports, the newest first."""
    return Query(collection=PROGRESS.name, index=_NEWEST, descending=True, after=after, limit=limit)
