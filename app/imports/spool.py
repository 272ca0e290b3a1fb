"""The folder of imports: what was uploaded, whole or not at all, until its links are made."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct

from app.imports.errors import NoRoom, TooLarge, TooManyUploads, UploadBroken, UploadLate
from app.imports.layout import HEAD, layout_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from app.imports.layout import Format
    from astra_core.clock import Clock

__all__ = ["Spool"]

T = TypeVar("T")

_CHUNK = 512 * 1024
"""Bytes gathered before they are written: a turn of a thread costs as much as writing 64 KiB."""
_SYNC = 32 * 1024 * 1024
"""Bytes between two syncs, so that the last one does not wait for a gigabyte."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PART = ".part"
_KEPT = ".upload"
_PATIENCES = 6
"""How often `patience` may pass between two looks at the rate at which a file comes."""
_UNBORN_AGE = 60.0
"""Seconds that whoever made a part has had to lock it."""


class Run(Protocol):
    """Calls what blocks in a thread."""

    async def __call__(self, call: Callable[..., T], /, *args: Any) -> T:
        """Return what `call` returns."""
        ...


class Spool:
    """Receives files and keeps them by the id of their import.

    `largest` bytes a file, `quota` bytes in the whole folder of a store, `uploads` files at once, `patience` seconds
    for the next bytes and `least_rate` bytes a second over some of that may be replaced while it runs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        largest: int,
        quota: int,
        uploads: int,
        patience: float,
        least_rate: int,
        run: Run,
        clock: Clock,
    ) -> None:
        self.folder = folder
        self._older = folder
        self.largest = largest
        self.quota = quota
        self.uploads = uploads
        self.patience = patience
        self.least_rate = least_rate
        self.receiving = 0
        self._run = run
        self._clock = clock

    def __repr__(self) -> str:
        return f"Spool({str(self.folder)!r}, receiving={self.receiving})"

    def settle(self, own: str) -> None:
        """Go on in the folder `own` of the store within the one that stores may share, before anything is received.

        Files that older versions left in the shared one are still found: their names are those of this store's imports.
        """
        self.folder = self.folder / own

    async def receive(
        self, key: str, read: Callable[[], Awaitable[bytes | None]], *, kind: Format, declared: int | None
    ) -> int:
        """Store what `read` returns until it is empty and return the size; the file lasts through a power cut then.

        `read` returns None when the sender left. Whatever is raised, nothing stays: `InvalidImport` for what the first
        line tells, `TooLarge`, `NoRoom`, `TooManyUploads`, `UploadBroken`, `UploadLate`, `OSError`.
        """
        if self.receiving >= self.uploads:
            raise TooManyUploads(self.uploads)
        if declared is not None and declared > self.largest:
            raise TooLarge(self.largest)
        self.receiving += 1
        part = self.folder / f"{key}{_PART}"
        try:
            fd = await self._run(self._create, part, declared or 0)
            try:
                size = await self._store(fd, part, read, kind=kind)
                if size != (declared or size):
                    raise UploadBroken
            finally:
                await asyncio.shield(self._run(os.close, fd))
            await self._run(self._keep, part, self.path(key))
        except OSError as error:
            if error.errno in _FULL:
                raise NoRoom from error
            raise
        finally:
            self.receiving -= 1
            await asyncio.shield(self._run(_remove, part))
        return size

    async def _store(self, fd: int, part: Path, read: Callable[[], Awaitable[bytes | None]], *, kind: Format) -> int:
        size, unsynced, checked = 0, 0, False
        gathered, coming = bytearray(), _Coming()
        while True:
            chunk = await self._next(read, coming)
            size += len(chunk)
            if size > self.largest:
                raise TooLarge(self.largest)
            gathered += chunk
            if not checked and (len(gathered) >= HEAD or not chunk):
                layout_of(bytes(gathered[:HEAD]), kind)
                checked = True
            if len(gathered) >= _CHUNK or not chunk:
                unsynced += len(gathered)
                await self._run(self._append, fd, part, bytes(gathered), size, unsynced >= _SYNC or not chunk)
                unsynced = 0 if unsynced >= _SYNC else unsynced
                gathered.clear()
            if not chunk:
                return size

    async def _next(self, read: Callable[[], Awaitable[bytes | None]], coming: _Coming) -> bytes:
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self.patience):
                chunk = await read()
        except TimeoutError:
            raise UploadLate(self.patience) from None
        if chunk is None:
            raise UploadBroken
        coming.size += len(chunk)
        coming.seconds += self._clock.monotonic() - began
        if chunk and coming.seconds >= _PATIENCES * self.patience:
            if coming.size < self.least_rate * coming.seconds:
                raise UploadLate(coming.seconds, coming.size)
            coming.size, coming.seconds = 0, 0.0
        return chunk

    def path(self, key: str) -> Path:
        """Where the uploaded file of an import lies."""
        path = self.folder / f"{key}{_KEPT}"
        older = self._older / path.name
        return older if older != path and older.exists() else path

    def open(self, key: str) -> BinaryIO:
        """Open the uploaded file of an import to read it."""
        return self.path(key).open("rb")

    async def adopt(self, key: str, file: Path, *, kind: Format) -> int:
        """Take a copy of a file of this machine, as if it had been uploaded, and return its size."""
        with await self._run(lambda: file.open("rb", buffering=0)) as source:
            waits = stat.S_ISFIFO(os.fstat(source.fileno()).st_mode) or source.isatty()

            async def read() -> bytes:
                if waits:  # not in the thread, where no order to stop would reach it
                    await _readable(source.fileno())
                return await self._run(source.read, _CHUNK)

            return await self.receive(key, read, kind=kind, declared=None)

    async def drop(self, key: str) -> None:
        """Remove the uploaded file of an import that is over."""
        await self._run(_remove, self.path(key))

    async def sweep(self, now: float) -> None:
        """Remove what killed processes left half-received; `now` is wall time."""
        for folder in {self.folder, self._older}:
            await self._run(_sweep, folder, now - _UNBORN_AGE)

    async def kept(self, *, before: float) -> list[str]:
        """Return the ids of the files of this store that were whole before that wall time."""
        return await self._run(self._list, before)

    def _list(self, before: float) -> list[str]:
        entries = _entries(self.folder)
        return [name.removesuffix(_KEPT) for name, at in entries if name.endswith(_KEPT) and at.st_mtime < before]

    def _claim(self, part: Path, size: int) -> None:
        """Raise `NoRoom` when `part` cannot grow to `size` bytes beside what other files have, or are to have."""
        if size > self.quota - sum(at.st_size for name, at in _entries(self.folder) if name != part.name):
            raise NoRoom(self.quota)

    def _create(self, part: Path, declared: int) -> int:
        """Make a part, held by a lock of its file; it has the size that was declared at once, so others count it."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._claim(part, declared)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, declared)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _append(self, fd: int, part: Path, data: bytes, size: int, sync: bool) -> None:
        """Write the next bytes of a part, which has `size` of them then."""
        self._claim(part, size)
        _write(fd, data, sync)

    def _keep(self, part: Path, path: Path) -> None:
        part.rename(path)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class _Coming(Struct):
    """What came of a file, and the seconds waited for it, since its rate was looked at; our own disk is not counted."""

    size: int = 0
    seconds: float = 0.0


async def _readable(fd: int) -> None:
    """Wait until a pipe has something to read, or its end."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)


def _write(fd: int, data: bytes, sync: bool) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    if sync:
        os.fdatasync(fd)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _entries(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield name and status of each file that is still there."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            with contextlib.suppress(FileNotFoundError):
                yield entry.name, entry.stat()


def _sweep(folder: Path, before: float) -> None:
    """Remove parts that nobody holds. The age comes before the lock: their makers must not find them locked."""
    for name, at in _entries(folder):
        if name.endswith(_PART) and at.st_mtime < before:
            with contextlib.suppress(FileNotFoundError, BlockingIOError), (folder / name).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder / name)
