"""A disk that forgets, at a power cut, whatever was not synced: a VFS under the engine, by way of `apsw`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

__all__ = ["Adapted", "ForgetfulDisk"]

SECTOR = 512


class _File(apsw.VFSFile):
    def __init__(self, disk: ForgetfulDisk, name: Any, flags: Any) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        """Sync, and only then is the content there to stay."""
        self._disk.before_sync()
        super().xSync(flags)
        self._disk.durable[self._path] = Path(self._path).read_bytes()


class ForgetfulDisk(apsw.VFS):
    """Passes everything to the real file system and keeps what each file held when it was last synced.

    `before_sync` is called in the writer's thread each time that written bytes are about to become durable: the worst
    moments for a cut.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.durable: dict[str, bytes] = {}
        self.before_sync: Callable[[], None] = lambda: None

    def xOpen(self, name: Any, flags: Any) -> _File:  # noqa: N802 - SQLite's name
        """Open a file of SQLite's."""
        return _File(self, name, flags)

    def cut(self, path: Path) -> dict[str, bytes]:
        """Return what would be left of the database at `path`: exactly what was synced."""
        return {suffix: self.durable.get(f"{path}{suffix}", b"") for suffix in ("", "-wal")}

    def torn(self, path: Path, random: random.Random) -> dict[str, bytes]:
        """Return what might be left: of the unsynced sectors some, in any order, reached the disk as well."""
        left = {}
        for suffix, old in self.cut(path).items():
            file = Path(f"{path}{suffix}")
            new = file.read_bytes() if file.exists() else b""
            mixed = bytearray(old.ljust(len(new), b"\0"))
            for start in range(0, len(new), SECTOR):
                if random.random() < 0.5:
                    mixed[start : start + SECTOR] = new[start : start + SECTOR]
            left[suffix] = bytes(mixed)
        return left


class _Cursor:
    def __init__(self, cursor: Any, rowcount: int, lastrowid: int) -> None:
        self._cursor = cursor
        self.rowcount = rowcount
        self.lastrowid = lastrowid

    def fetchall(self) -> list[Any]:
        return list(self._cursor)


class Adapted:
    """An `apsw` connection with the face of the driver's that the engine uses, and its errors.

    `synchronous` takes the place of the level that the engine asks for, to show what the test would see then.
    """

    def __init__(self, path: str, disk: ForgetfulDisk, *, synchronous: str) -> None:
        self._connection = apsw.Connection(path, vfs=disk.name)
        self._synchronous = f"PRAGMA synchronous={synchronous}"
        self.close = self._connection.close
        self.set_progress_handler = self._connection.set_progress_handler

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def execute(self, statement: str, values: Any = ()) -> _Cursor:
        """Run one statement."""
        if statement == "PRAGMA synchronous=FULL":
            statement = self._synchronous
        connection = self._connection
        try:
            cursor = connection.execute(statement, tuple(values))
        except apsw.Error as error:
            translated = sqlite3.OperationalError(str(error))
            translated.sqlite_errorcode = getattr(error, "extendedresult", 0)
            raise translated from error
        return _Cursor(cursor, connection.changes(), connection.last_insert_rowid())
