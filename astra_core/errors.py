"""One exception tree: every error Astra raises is an `AstraError` that carries its data."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AstraError",
    "CommitConflict",
    "ConfigError",
    "ConflictReason",
    "DefinitionError",
    "Overloaded",
    "StorageError",
    "StoreUnavailable",
]


class AstraError(Exception):
    """The root of every error that Astra raises on purpose."""


class ConfigError(AstraError):
    """Settings that cannot be used; `problems` names every one of them, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class DefinitionError(AstraError):
    """A definition in code (a machine, a collection) that contradicts itself; `problems` lists all of it."""

    def __init__(self, subject: str, problems: Sequence[str]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        super().__init__(f"{subject}: " + "; ".join(self.problems))


class Overloaded(AstraError):  # noqa: N818 - the field's term
    """A bounded queue or pool is full: the work was not started and may be tried again after `retry_after` seconds."""

    def __init__(self, resource: str, *, limit: int, retry_after: float = 1.0) -> None:
        self.resource = resource
        self.limit = limit
        self.retry_after = retry_after
        super().__init__(f"{resource} is full ({limit} waiting)")


class StorageError(AstraError):
    """The root of what a store may raise; no driver's error passes a port."""


class StoreUnavailable(StorageError):  # noqa: N818 - the field's term
    """The store cannot do this now (gone, full, read-only, too busy); nothing was written, unless `CommitInDoubt`.

    `retry_after` is the wait in seconds after which a further try makes sense.
    """

    def __init__(self, reason: str, *, retry_after: float = 1.0) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


class CommitInDoubt(StoreUnavailable):
    """The store did not answer a commit that had been handed to it: it happened as a whole, or will, or will not.

    The one `StoreUnavailable` after which something may have been written. Repeating the commit is safe only when it
    says so itself: an insert, a write at a version, an `Add` with a source.
    """


class ConflictReason(StrEnum):
    """Why a commit was refused."""

    EXISTS = "exists"
    """An insert met a record of the same key."""
    MISSING = "missing"
    """A write at a version met no record."""
    VERSION = "version"
    """A write at a version met another version."""
    UNIQUE = "unique"
    """A unique index already holds this value for another record."""
    EXHAUSTED = "exhausted"
    """A take would bring its counter below zero."""


class CommitConflict(StorageError):  # noqa: N818 - the field's term
    """A commit was refused as a whole, and wrote nothing, because one write met another state than it requires.

    `write` is the place of that write in the commit, `key` its record or counter, `index` the unique index when
    `reason` is `UNIQUE`.
    """

    def __init__(self, reason: ConflictReason, *, write: int, key: str, index: str | None = None) -> None:
        self.reason = reason
        self.write = write
        self.key = key
        self.index = index
        where = f" on index {index}" if index else ""
        super().__init__(f"write {write} refused: {reason.value}{where} ({key!r})")
