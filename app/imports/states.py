"""The life of an import, whole: its states, what may happen in each, and where that leads.

A worker takes an import before it does anything for it. Each event moves the version of the import's record, and every
commit of a worker requires the version that it took: whoever was overtaken, by a pause, a cancellation or another
worker, cannot write. To resume is to go back to where the import had come, which is before or after the look at its
whole file.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from astra_core.fsm import Machine, Question, Transition

__all__ = [
    "FINAL",
    "IMPORT",
    "OPEN",
    "Cancel",
    "Fail",
    "Finish",
    "ImportEvent",
    "ImportState",
    "Pause",
    "Resume",
    "Take",
    "Validated",
]


class ImportState(StrEnum):
    """Where an import stands."""

    UPLOADED = "uploaded"
    """Its file is here, whole."""
    VALIDATING = "validating"
    """The form of the file is looked at, and its rows are counted."""
    RUNNING = "running"
    """Links are made of its rows."""
    PAUSED = "paused"
    DONE = "done"
    """Every row was looked at; some may have failed."""
    FAILED = "failed"
    """The file as a whole cannot be imported; links of rows before stay."""
    CANCELLED = "cancelled"
    """Someone stopped it for good; links of rows before stay."""


@dataclass(frozen=True, slots=True)
class Take:
    """A worker takes it, for the first time or from one that is gone, with `rows` rows done.

    `anew` says that the one who took it last is well: what kept it from going on was not the import.
    """

    rows: int = 0
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Validated:
    """The whole file was looked at: it has `rows` rows."""

    rows: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The last row was looked at."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The file cannot be imported, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Someone stops it for a while."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Someone lets it go on."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Someone stops it for good."""


ImportEvent: TypeAlias = Take | Validated | Finish | Fail | Pause | Resume | Cancel


def was_validated(event: ImportEvent, validated: bool) -> bool:
    """Return whether the whole file was looked at: the question that resuming asks."""
    return validated


UPLOADED, VALIDATING, RUNNING, PAUSED, DONE, FAILED, CANCELLED = ImportState
OPEN = (UPLOADED, VALIDATING, RUNNING)
"""States in which there is something to do."""
FINAL = (DONE, FAILED, CANCELLED)

_KNOWN = Question(was_validated)

IMPORT: Machine[ImportState, ImportEvent, bool] = Machine(
    name="imports",
    states=ImportState,
    events=(Take, Validated, Finish, Fail, Pause, Resume, Cancel),
    initial=UPLOADED,
    final=FINAL,
    transitions=(
        Transition((UPLOADED, VALIDATING), Take, VALIDATING),
        Transition(RUNNING, Take, RUNNING),
        Transition(VALIDATING, Validated, RUNNING),
        Transition(RUNNING, Finish, DONE),
        Transition((VALIDATING, RUNNING), Fail, FAILED),
        Transition((UPLOADED, VALIDATING, RUNNING), Pause, PAUSED),
        Transition(PAUSED, Resume, UPLOADED, _KNOWN.case(False, name="not validated")),
        Transition(PAUSED, Resume, RUNNING, _KNOWN.case(True, name="validated")),
        Transition((UPLOADED, VALIDATING, RUNNING, PAUSED), Cancel, CANCELLED),
    ),
)
