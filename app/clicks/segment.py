"""One file of the click journal: preallocated, memory-mapped, appended by one process life and held by a file lock.

Layout: a header of 32 bytes (magic, creation time in whole seconds, the segment's 128-bit name), then frames. A frame
is the length of its payload (2 bytes), the CRC-32 of that payload seeded with the segment's name (4 bytes), and the
payload: wall time in seconds (8 bytes, IEEE 754 double) and the code; of a traced request also a zero byte, its trace
id (16 bytes) and its span id (8 bytes). All numbers are little-endian. Zeros follow the
last frame.

A frame is one store into shared memory: once the store returned, a killed process cannot take it back, and a store
that a kill cut in half fails its CRC, which is where every reader stops. An event is numbered by the offset at which
it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections import Counter
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Self
from zlib import crc32

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HEADER_SIZE", "SUFFIX", "TRACES", "Batch", "Segment", "sweep", "traced"]

SUFFIX = ".seg"
HEADER_SIZE = 32
_UNBORN = ".new"
_HEADER = Struct("<8sQ16s")
_MAGIC = b"ASTRACJ1"
_FRAME = Struct("<HI")
_TIME = Struct("<d")
_FRAME_SIZE = _FRAME.size
_PAYLOAD_MIN = _TIME.size
_TRACED = b"\0"
"""Between the code and the trace context of a traced click; no code holds it."""
TRACES = 128
"""Traced clicks that one batch tells of; OpenTelemetry's own bound of the links of a span."""
_pack_frame = _FRAME.pack
_pack_time = _TIME.pack


@dataclass(frozen=True, slots=True)
class Batch:
    """Clicks a code, of the events up to and including the one numbered `position`.

    `traces` are the trace contexts of those that were traced, 24 bytes each, at most `TRACES` of them.
    """

    visits: dict[str, int]
    events: int
    position: int
    traces: tuple[bytes, ...] = ()


class Segment:
    """A journal file, mapped.

    `end` is the number of its last event (`HEADER_SIZE` when there is none; the file's size when it was adopted and is
    not read yet), `applied` the number of the last event known to be counted, `claimed` a batch that was handed to the
    store and not acknowledged. `created` is in seconds since the Unix epoch.
    """

    __slots__ = ("_fd", "_map", "_seed", "applied", "claimed", "created", "end", "name", "path", "size")

    def __init__(self, path: Path, fd: int, mapped: mmap.mmap, name: bytes, *, created: int, end: int) -> None:
        self.path = path
        self.name = name.hex()
        self.created = created
        self.size = len(mapped)
        self.end = end
        self.applied = HEADER_SIZE
        self.claimed: Batch | None = None
        self._fd = fd
        self._map = mapped
        self._seed = crc32(name)

    @classmethod
    def create(cls, folder: Path, *, size: int, name: bytes, now: float) -> Self:
        """Preallocate and lock a new segment. Blocks. Raises `OSError` when the disk has no room.

        The file gets its name only when it is locked and whole, so no other process can adopt it half-made.
        """
        path = folder / (name.hex() + SUFFIX)
        unborn = path.with_suffix(_UNBORN)
        fd = os.open(unborn, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(fd, 0, size)
            os.pwrite(fd, _HEADER.pack(_MAGIC, int(now), name), 0)
            os.fsync(fd)
            mapped = mmap.mmap(fd, size)
            unborn.rename(path)
            sync_folder(folder)
        except BaseException:
            with contextlib.suppress(OSError):
                unborn.unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            os.close(fd)
            raise
        return cls(path, fd, mapped, name, created=int(now), end=HEADER_SIZE)

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """Take over a segment whose owner is gone; None while somebody holds it. Blocks. Raises `OSError`.

        A file that is no whole segment is empty to us: nothing in it was ever acknowledged.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(fd)
            if status.st_nlink == 0:  # its owner removed it between our open and our lock
                os.close(fd)
                return None
            header = os.pread(fd, HEADER_SIZE, 0)
            if len(header) == HEADER_SIZE and header.startswith(_MAGIC):
                _, created, name = _HEADER.unpack(header)
                return cls(path, fd, mmap.mmap(fd, status.st_size), name, created=created, end=status.st_size)
            return cls(path, fd, mmap.mmap(-1, HEADER_SIZE), b"", created=int(status.st_mtime), end=HEADER_SIZE)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise

    def append(self, now: float, code: bytes) -> bool:
        """Store one click; False when it does not fit any more. Costs about half a microsecond.

        `code` may be what `traced` made of it.
        """
        payload = _pack_time(now) + code
        frame = _pack_frame(len(payload), crc32(payload, self._seed)) + payload
        start = self.end
        end = start + len(frame)
        if end > self.size:
            return False
        self._map[start:end] = frame
        self.end = end
        return True

    def read(self, after: int, *, limit: int) -> Batch:
        """Return up to `limit` events that follow number `after`; an empty batch at the end or at a bad frame."""
        mapped, seed, last = self._map, self._seed, self.end - _FRAME_SIZE
        position, events = after, 0
        codes: list[bytes] = []
        while events < limit and position <= last:
            length, crc = _FRAME.unpack_from(mapped, position)
            start = position + _FRAME_SIZE
            payload = mapped[start : start + length]
            if length <= _PAYLOAD_MIN or len(payload) < length or crc32(payload, seed) != crc:
                break
            codes.append(payload[_PAYLOAD_MIN:])
            position = start + length
            events += 1
        traces = [code.partition(_TRACED)[2] for code in codes if _TRACED in code]
        if traces:
            codes = [code.partition(_TRACED)[0] for code in codes]
        visits = {code.decode("ascii", "replace"): n for code, n in Counter(codes).items()}
        return Batch(visits, events, position, tuple(traces[:TRACES]))

    def time_at(self, position: int) -> float | None:
        """Return when the click that follows event number `position` was stored, in seconds since the Unix epoch."""
        start = position + _FRAME_SIZE
        if start + _PAYLOAD_MIN > self.end or _FRAME.unpack_from(self._map, position)[0] <= _PAYLOAD_MIN:
            return None
        at: float = _TIME.unpack_from(self._map, start)[0]
        return at

    def sync(self) -> None:
        """Make what was appended survive a power cut. Blocks, with the interpreter released."""
        if self._fd >= 0:
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Unmap and let go of the lock: from now on another process may adopt the file."""
        self._map.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def remove(self) -> None:
        """Unlink the file while holding its lock, sync the folder, then close. Blocks."""
        try:
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<Segment {self.name} {self.end}/{self.size}>"


def traced(code: bytes, trace: bytes) -> bytes:
    """Return a code with the 24 bytes of the trace context that its click belongs to."""
    return code + _TRACED + trace


def sweep(folder: Path, *, before: float) -> int:
    """Remove segments that died unborn with their creator and were last written before that wall time. Blocks.

    The age comes before the lock: a creator at work must not find its file locked. Returns how many went.
    """
    swept = 0
    for path in folder.glob("*" + _UNBORN):
        with contextlib.suppress(OSError):  # it was born meanwhile, or is held, or cannot be removed now
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if os.fstat(fd).st_mtime < before:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                    swept += 1
            finally:
                os.close(fd)
    return swept


def sync_folder(folder: Path) -> None:
    """Make a new or removed name in `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
