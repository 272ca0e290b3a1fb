"""Who reads for a group: whoever holds the lock of a file, which the kernel takes from a process that ends."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from astra_core.errors import MessagingUnavailable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileClaim"]


class FileClaim:
    """A lock on the file at `path`, for one consumer. The file stays: a name that comes and goes has no one owner."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self.held = False

    @property
    def opened(self) -> bool:
        """Whether the file is ready to be locked."""
        return self._fd is not None

    def open(self) -> None:
        """Make the file ready to be locked. The one step that may wait for a disk."""
        if self._fd is not None:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MessagingUnavailable(f"{self._path}: the file cannot be opened ({error.strerror})") from error

    def take(self) -> bool:
        """Whether it is held now; never waits. What was opened and is no longer the file of that name is let go."""
        if self._fd is None or self.held:
            return self.held
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours, named = os.fstat(self._fd), os.stat(self._path)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        if not os.path.samestat(ours, named):
            self.close()
            return False
        self.held = True
        return True

    def close(self) -> None:
        """Let go of the lock and the file."""
        self.held = False
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __repr__(self) -> str:
        return f"FileClaim({str(self._path)!r}, {'held' if self.held else 'not held'})"
