"""The figures of one worker in a mapped file, where the other workers read them.

Layout: a header of 64 bytes (magic, sequence, end of the last record), then records that are only ever appended. A
record is its length, the length and the CRC-32 of its name (4 bytes each), the number of its figures (4 bytes), the
name (JSON: family, kind, label values) padded to 8 bytes, and the figures as IEEE 754 doubles, exact for whole numbers
up to 2^53. All numbers are little-endian.

The writer makes the sequence odd, stores, and makes it even again (a seqlock: C. Lameter, "Effective Synchronization
on Linux/NUMA Systems", 2005); a reader that saw it move reads again. The file is locked as long as its process lives,
and keeps what was published when that is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import time
from dataclasses import dataclass
from functools import cache
from struct import Struct
from typing import TYPE_CHECKING, Final, Self
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from astra_core.telemetry.series import Table

__all__ = ["SUFFIX", "UNBORN", "Figures", "WorkerFile", "read_figures"]

SUFFIX: Final = ".figures"
UNBORN: Final = ".new"
_MAGIC: Final = b"ASTRAMF1"
_HEADER: Final = Struct("<8sQQ")
_HEADER_SIZE: Final = 64
_SEQUENCE: Final = Struct("<Q")
_SEQUENCE_AT: Final = 8
_END_AT: Final = 16
_RECORD: Final = Struct("<IIII")
_STEP: Final = 64 * 1024
_LOOKS: Final = 50
_BREATH: Final = 0.0005
"""Seconds between two looks at a file that is being written: its writer may wait for this very processor."""


@cache
def _doubles(width: int) -> Struct:
    return Struct(f"<{width}d")


@dataclass(frozen=True, slots=True)
class Figures:
    """One series as read: family, kind, label values, and its numbers."""

    family: str
    kind: str
    labels: tuple[str, ...]
    values: tuple[float, ...]


class WorkerFile:
    """The writing side. Blocks, for some microseconds a series, since the file is in memory."""

    def __init__(self, path: Path, fd: int, mapped: mmap.mmap) -> None:
        self.path = path
        self._fd = fd
        self._map = mapped
        self._sequence = 0
        self._end = _HEADER_SIZE
        self._places: list[int] = []

    @classmethod
    def create(cls, folder: Path, *, name: str) -> Self:
        """Make and lock the file `name`. Raises `OSError`. It gets its name when it is locked and whole."""
        path = folder / (name + SUFFIX)
        unborn = path.with_suffix(UNBORN)
        fd = os.open(unborn, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(fd, 0, _STEP)
            os.pwrite(fd, _HEADER.pack(_MAGIC, 0, _HEADER_SIZE), 0)
            mapped = mmap.mmap(fd, _STEP)
            unborn.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                unborn.unlink(missing_ok=True)
            os.close(fd)
            raise
        return cls(path, fd, mapped)

    def publish(self, table: Table) -> None:
        """Store every figure of `table`; series that are new are appended. Raises `OSError` when the disk is full."""
        values, known = table.values, tuple(table.series)  # another thread may bind one more meanwhile
        self._begin()
        try:
            for series in known[len(self._places) :]:
                self._append(json.dumps([series.family.name, series.family.kind, series.labels]), series.width)
        finally:  # where the disk had no room for a new one, the others are stored all the same
            mapped = self._map
            for series, place in zip(known, self._places, strict=False):
                _doubles(series.width).pack_into(mapped, place, *values[series.at : series.at + series.width])
            self._finish()

    def _append(self, name: str, width: int) -> None:
        text = name.encode()
        padded = text + b" " * (-len(text) % 8)
        length = _RECORD.size + len(padded) + 8 * width
        self._make_room(self._end + length)
        _RECORD.pack_into(self._map, self._end, length, len(text), crc32(text), width)
        begin = self._end + _RECORD.size
        self._map[begin : begin + len(padded)] = padded
        self._places.append(begin + len(padded))
        self._end += length

    def _make_room(self, size: int) -> None:
        """Allocate before mapping: a hole that the disk has no room for would kill the process at a store."""
        if size <= len(self._map):
            return
        wanted = -(-size // _STEP) * _STEP
        os.posix_fallocate(self._fd, 0, wanted)
        self._map.resize(wanted)

    def _begin(self) -> None:
        self._sequence += 1
        _SEQUENCE.pack_into(self._map, _SEQUENCE_AT, self._sequence)

    def _finish(self) -> None:
        _SEQUENCE.pack_into(self._map, _END_AT, self._end)
        self._sequence += 1
        _SEQUENCE.pack_into(self._map, _SEQUENCE_AT, self._sequence)

    def close(self) -> None:
        """Let go of the lock; what was published stays, and whoever finds it adds it to the totals."""
        self._map.close()
        os.close(self._fd)

    def __repr__(self) -> str:
        return f"<WorkerFile {self.path.name} series={len(self._places)}>"


def read_figures(fd: int, *, settled: bool = False, pause: Callable[[float], None] = time.sleep) -> list[Figures]:
    """Return every series of a worker's file, as one publication left them. Raises `OSError`.

    A file that never got a whole header holds nothing, and reading stops at a record that is not whole. A process that
    was killed, or stopped, while it published leaves a part of two publications: each number of it is whole. `settled`
    says that nobody writes any more, so that waiting for the rest is idle.
    """
    for look in range(1 if settled else _LOOKS):
        if look:
            pause(_BREATH)
        content = os.pread(fd, os.fstat(fd).st_size, 0)
        if len(content) < _HEADER_SIZE or not content.startswith(_MAGIC):
            return []
        sequence = _SEQUENCE.unpack_from(content, _SEQUENCE_AT)
        if not sequence[0] & 1 and os.pread(fd, 8, _SEQUENCE_AT) == _SEQUENCE.pack(*sequence):
            break
    return _parse(content)


def _parse(content: bytes) -> list[Figures]:
    found: list[Figures] = []
    (end,) = _SEQUENCE.unpack_from(content, _END_AT)
    at, end = _HEADER_SIZE, min(end, len(content))
    while at + _RECORD.size <= end:
        length, size, crc, width = _RECORD.unpack_from(content, at)
        begin = at + _RECORD.size
        text = content[begin : begin + size]
        place = begin + size + -size % 8
        if place + 8 * width != at + length or at + length > end or crc32(text) != crc:
            break
        family, kind, labels = json.loads(text)
        found.append(Figures(family, kind, tuple(labels), _doubles(width).unpack_from(content, place)))
        at += length
    return found
