"""Who reads for a group: whoever holds the lock of a file, which the kernel takes from a process that ends."""

from __future__ import annotations

import fcntl
import os
from threading import Lock
from typing import TYPE_CHECKING

from astra_core.errors import MessagingUnavailable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileClaim"]


class FileClaim:
    """A lock on the file at `path`, for one consumer. The file stays: a name that comes and goes has no one owner."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        self._opening = Lock()
        self.held = False

    @property
    def opened(self) -> bool:
        """Whether the file is ready to be locked."""
        return self._fd is not None

    def open(self) -> None:
        """Make the file ready to be locked. May wait for a disk, so it is for a thread, or several."""
        with self._opening:
            if self._fd is not None:
                return
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise MessagingUnavailable(f"{self.path}: the file cannot be opened ({error.strerror})") from error

    def lock(self) -> bool:
        """Whether the file is locked now; never waits. What is locked is held once it was looked at."""
        if self._fd is None or self.held:
            return self.held
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        return True

    def look(self) -> int | None:
        """Return what is open if it is still the file of that name. May wait for a disk, so it is for a thread."""
        fd = self._fd
        try:
            return fd if fd is not None and os.path.samestat(os.fstat(fd), os.stat(self.path)) else None
        except OSError:
            return None

    def hold(self, seen: int | None) -> bool:
        """Whether it is held, after a look that has `seen` this; what is no longer the file of that name is let go."""
        self.held = seen is not None and seen == self._fd
        if not self.held:
            self.close()
        return self.held

    def close(self) -> None:
        """Let go of the lock and the file."""
        self.held = False
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __repr__(self) -> str:
        return f"FileClaim({str(self.path)!r}, {'held' if self.held else 'not held'})"
