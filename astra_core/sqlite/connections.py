"""Connections as the engine needs them, and a schema that only moves forward."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from astra_core.errors import StorageError, StoreUnavailable
from astra_core.sqlite.failures import is_busy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Backoff", "Connect", "Schema", "connect", "open_reader", "open_writer", "prepare_file"]

_NORMAL_WAL_BYTES = 16 * 1024 * 1024
_CHECKPOINT_PAGES = 4_000
"""Pages in the WAL before they are moved into the database: a page written ten times until then is moved once."""
_MAKING = Lock()
"""Held while a file is made: one that another thread opened meanwhile would lose its locks when it is closed here."""
_IDENTITY = (  # one statement, so one snapshot: another process may be creating the schema right now
    "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),"
    " (SELECT count(*) FROM sqlite_master)"
)


class Connect(Protocol):
    """Opens a connection in autocommit mode, usable from any thread, that never waits for a lock by itself."""

    def __call__(self, path: str, /) -> sqlite3.Connection:
        """Return a new connection to the file at `path`."""
        ...


class Backoff(Protocol):
    """Called between two tries for a lock: pauses, or raises when there has been enough of it."""

    def __call__(self, error: sqlite3.Error, /) -> None:
        """Pause, or raise from `error`."""
        ...


def _nothing(connection: sqlite3.Connection) -> None:
    """Ensure nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a file must hold: whose it is, the steps from each version to the next, and what every opening ensures.

    A migration is a tuple of statements; the file's `user_version` counts those applied, and they are only ever
    added to. `ensure` runs at every opening, in the same transaction, and must do nothing where all is in place.
    """

    application_id: int
    migrations: tuple[tuple[str, ...], ...] = ()
    ensure: Callable[[sqlite3.Connection], None] = _nothing


def connect(path: str, /) -> sqlite3.Connection:
    """Open `path` with the driver that comes with Python."""
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256)


def prepare_file(path: Path) -> bool:
    """Make the folder and an empty file, for their owner only, and make both last through a power cut.

    Returns whether there was none: of several processes that begin at once, one hears so. Raises `StorageError` for
    `:memory:`, of which each connection would see a database of its own.

    SQLite syncs the directory entry of its WAL but not that of the database itself, and where a link leads to no file
    yet it would make one that others may read. A file that is there is not opened: closing it would drop the locks that
    the SQLite of this process has on it (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    if str(path) == ":memory:":
        raise StorageError(f"{path}: an SQLite database in memory is no file, and cannot be shared by connections")
    try:
        target = Path(os.path.realpath(path))
        missing = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        made = _make(target)
        for folder in {target.parent, *(made.parent for made in missing)}:
            _sync_folder(folder)
    except OSError as error:
        raise StoreUnavailable(f"{path}: the file cannot be opened ({error.strerror})") from error
    return made


def _make(path: Path) -> bool:
    with _MAKING:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return False
    return True


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_writer(path: Path, schema: Schema, *, connect: Connect, backoff: Backoff) -> sqlite3.Connection:
    """Return the connection that writes, the file's schema brought up to date. Safe when processes open at once."""
    connection = connect(str(path))
    try:
        _patiently(lambda: _check_owner(connection, path, schema), backoff)
        _patiently(lambda: connection.execute("PRAGMA journal_mode=WAL").fetchall(), backoff)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit={_NORMAL_WAL_BYTES}")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA cache_size=-16384")
        _patiently(lambda: connection.execute("BEGIN IMMEDIATE"), backoff)
        try:
            _migrate(connection, path, schema)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path, *, connect: Connect) -> sqlite3.Connection:
    """Return a connection that cannot write."""
    connection = connect(str(path))
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def _patiently(step: Callable[[], object], backoff: Backoff) -> None:
    while True:
        try:
            step()
        except sqlite3.Error as error:
            if not is_busy(error):
                raise
            backoff(error)
        else:
            return


def _check_owner(connection: sqlite3.Connection, path: Path, schema: Schema) -> int:
    owner, version, tables = connection.execute(_IDENTITY).fetchall()[0]
    if owner != schema.application_id and (owner or tables):
        raise StorageError(f"{path}: the database belongs to another program")
    if version > len(schema.migrations):
        raise StorageError(
            f"{path}: the database has schema version {version}, and this program knows up to {len(schema.migrations)}"
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    version = _check_owner(connection, path, schema)
    if version < len(schema.migrations):
        for step in schema.migrations[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={schema.application_id}")
        connection.execute(f"PRAGMA user_version={len(schema.migrations)}")
    schema.ensure(connection)
