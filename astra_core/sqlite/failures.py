"""The one place where the driver's errors become ours."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from astra_core.errors import StorageError, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DRIVER_ERRORS", "is_busy", "translate"]

DRIVER_ERRORS = (sqlite3.Error, MemoryError)
"""What the driver raises: that SQLite is short of memory it says with Python's own error."""
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "the database is locked by another process",
    sqlite3.SQLITE_LOCKED: "the database is locked",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the database cannot be written to",
    sqlite3.SQLITE_IOERR: "the disk failed",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_PERM: "access is refused",
    sqlite3.SQLITE_INTERRUPT: "the read took too long and was stopped",
    sqlite3.SQLITE_NOMEM: "memory is short",
    sqlite3.SQLITE_PROTOCOL: "the database is locked by another process",
}
_DAMAGED = {
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database",
    sqlite3.SQLITE_CORRUPT: "the database is damaged",
}


def _primary(error: BaseException) -> int:
    if isinstance(error, MemoryError):
        return sqlite3.SQLITE_NOMEM
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether the same statement may succeed once another connection lets go of a lock."""
    return _primary(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL}


def translate(error: BaseException, path: Path) -> StorageError:
    """Return what a caller is told: `StoreUnavailable` when a later try may succeed, else `StorageError`."""
    code = _primary(error)
    if code in _UNAVAILABLE:
        return StoreUnavailable(f"{path}: {_UNAVAILABLE[code]}")
    if code in _DAMAGED:
        return StorageError(f"{path}: {_DAMAGED[code]}")
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return StoreUnavailable(f"{path}: the store is closed")
    return StorageError(f"{path}: {error}")
