"""The knobs of the embedded engine, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the engine; every time is in seconds."""

    deadline: float = 5.0
    """How long a unit may wait to be begun, and a read to end."""
    queue: int = 10_000
    """Units that may wait for the writer; one more is refused."""
    group: int = 512
    """The most units in one transaction."""
    group_seconds: float = 0.008
    """How long one transaction goes on taking units, so that other processes wait no longer for the write lock."""
    gather: float = 0.0005
    """One of the pauses in which a group waits for those whom the last one answered: groups grow, syncs are fewer."""
    retry: tuple[float, float] = (0.0002, 0.0008)
    """Between which two times the pause before a further try for the write lock is drawn."""
    contended_for: float = 1.0
    """How long after a refused try the lock counts as contended."""
    courtesy: float = 0.0003
    """Pause after a commit while the lock is contended: without it one process starves the others."""
    read: float = 1.0
    """The longest that a read transaction may last: an older snapshot would keep the WAL from being reused."""
    idle: float = 1.0
    """After how long without a commit the WAL is moved into the database."""
    wal_bytes: int = 64 * 1024 * 1024
    """Size of the WAL file above which a commit is followed by a checkpoint that truncates it."""
    checkpoint: int = 0
    """Groups after which the writer moves the WAL into the database, its lock let go; 0: SQLite does, within a commit.
    Taken when the file is opened.

    For one who commits much and at once prepares more: that goes on meanwhile.
    """
