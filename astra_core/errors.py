"""One exception tree: every error Astra raises is an `AstraError` that carries its data."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = [
    "AstraError",
    "ClaimLost",
    "CommitConflict",
    "ConfigError",
    "ConflictReason",
    "CoordinationError",
    "CoordinationUnavailable",
    "DefinitionError",
    "LeaseLost",
    "MessagingError",
    "MessagingUnavailable",
    "Overloaded",
    "Reentered",
    "SlotMoved",
    "StorageError",
    "StoreUnavailable",
    "WorkCut",
    "WorkRefused",
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


class WorkRefused(Overloaded):
    """An executor did not take work for `key`, or gave it back before it began: nothing of it was done.

    `reason` is `mailbox` (this key has `limit` pieces of work waiting), `queue` (so many wait in all) or `closed`.
    """

    def __init__(
        self,
        executor: str,
        key: Hashable,
        reason: Literal["mailbox", "queue", "closed"],
        *,
        limit: int = 0,
        retry_after: float = 1.0,
    ) -> None:
        self.executor = executor
        self.key = key
        self.reason = reason
        what = {"mailbox": f"the mailbox of {key!r} in", "queue": "the queue of", "closed": "the closed executor"}[
            reason
        ]
        super().__init__(f"{what} {executor}", limit=limit, retry_after=retry_after)


class WorkCut(AstraError):  # noqa: N818 - what happened, not a fault
    """An executor that closed stopped work for `key` that had begun: how much of it was done is not known."""

    def __init__(self, executor: str, key: Hashable) -> None:
        self.executor = executor
        self.key = key
        super().__init__(f"{executor} closed and cut the work of {key!r} short")


class Reentered(AstraError):  # noqa: N818 - what happened, as the field calls it
    """Work for a key waited for work that can only begin after it: a mistake in the program, refused as it is made.

    `key` is the key submitted to; `path` leads from the submitter's key over those that wait for each other back to it.
    """

    def __init__(self, executor: str, key: Hashable, path: Sequence[Hashable]) -> None:
        self.executor = executor
        self.key = key
        self.path = tuple(path)
        super().__init__(f"{executor}: work for {key!r} would wait for itself ({' -> '.join(map(repr, self.path))})")


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


class MessagingError(AstraError):
    """The root of what publishers and consumers may raise; no driver's error passes a port."""


class MessagingUnavailable(MessagingError):  # noqa: N818 - the field's term
    """Messages cannot be published or received now (no broker, a full or failing disk, too busy).

    Of a publish that raised it none, the first few or all messages may be there. `retry_after` is the wait in seconds
    after which a further try makes sense.
    """

    def __init__(self, reason: str, *, retry_after: float = 1.0) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


class ClaimLost(MessagingError):  # noqa: N818 - what happened, as the field calls it
    """A consumer acknowledged messages of a topic that is no longer its own to read: nothing was moved.

    Whoever reads `topic` for `group` now is given all that was not acknowledged before.
    """

    def __init__(self, topic: str, group: str) -> None:
        self.topic = topic
        self.group = group
        super().__init__(f"the group {group} reads {topic} through another consumer now")


class CoordinationError(AstraError):
    """The root of what leases and members may raise; no driver's error passes a port."""


class CoordinationUnavailable(CoordinationError):  # noqa: N818 - the field's term
    """Whoever keeps leases and members did not do this now, or did it and did not say so in time.

    A lease that was taken all the same belongs to nobody and ends with its ttl. `retry_after` is in seconds.
    """

    def __init__(self, reason: str, *, retry_after: float = 1.0) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


class LeaseLost(CoordinationError):  # noqa: N818 - the field's term
    """The lease `name` of `epoch` is over: its renewal came too late, or it was released. Take it anew, or stop."""

    def __init__(self, name: str, epoch: int) -> None:
        self.name = name
        self.epoch = epoch
        super().__init__(f"lease {name!r} of epoch {epoch} is over")


class SlotMoved(AstraError):  # noqa: N818 - what happened, not a fault
    """This process does not own `slot`, or no longer: nothing was written. Whoever is `owner` takes the work.

    `owner` is None while nobody is known to be, and this process itself while it is about to take the slot.
    """

    def __init__(self, slot: int, owner: str | None) -> None:
        self.slot = slot
        self.owner = owner
        super().__init__(f"slot {slot} is not owned here but by {owner or 'nobody yet'}")
