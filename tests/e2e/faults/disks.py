"""Disks that stop taking writes while a server runs on them: full, limited, immutable, or read-only after an error."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["DISKS", "Disk", "Filled", "Immutable", "Limited", "LoopDisk", "ReadOnly"]


class Disk(Protocol):
    """A folder whose writes can be made to fail."""

    folder: Path
    relents: bool

    def refuse(self, pids: Sequence[int]) -> None:
        """From now on it takes nothing new from these processes."""

    def relent(self) -> None:
        """Take writes again."""

    def close(self) -> None:
        """Undo everything."""


def run(*command: str) -> str:
    """Run a system command; without it, or without the right to it, the test is skipped."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"not permitted here: {' '.join(command[:3])}: {error.stderr.strip()[:100]}")
    return done.stdout.strip()


class Filled:
    """A small tmpfs, filled to its last byte."""

    relents = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "small"
        self.folder.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(self.folder))

    def refuse(self, pids: Sequence[int]) -> None:
        """Fill it."""
        with (self.folder / "ballast").open("wb", buffering=0) as file:
            for size in (65536, 4096):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size) == size:
                        continue
        assert os.statvfs(self.folder).f_bavail == 0

    def relent(self) -> None:
        """Make room."""
        (self.folder / "ballast").unlink()

    def close(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", "-l", self.folder], check=False)


class Limited:
    """Any folder, for processes that may write no file (RLIMIT_FSIZE): needs no privilege."""

    relents = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pids: Sequence[int] = ()
        if not hasattr(resource, "prlimit"):
            pytest.skip("no prlimit on this system")

    def refuse(self, pids: Sequence[int]) -> None:
        """Let them write nothing."""
        self._pids = pids
        self._limit(0)

    def relent(self) -> None:
        """Lift the limit."""
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        for pid in self._pids:
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))

    def close(self) -> None:
        """Nothing stays."""


class Immutable:
    """A folder whose database and journal may not be changed, though they are open (`chattr +i`)."""

    relents = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._refused: list[str] = []
        probe = folder / "probe"
        probe.touch()
        run("chattr", "+i", str(probe))
        run("chattr", "-i", str(probe))

    def refuse(self, pids: Sequence[int]) -> None:
        """Close everything but the segments and SQLite's shared memory, which are mapped."""
        names = ("astra.db", "astra.db-wal", "journal")
        own = (path for path in (self.folder / "journal").iterdir() if path.is_dir())
        self._refused = [*(str(self.folder / name) for name in names), *map(str, own)]
        run("chattr", "+i", *self._refused)

    def relent(self) -> None:
        """Open it again."""
        run("chattr", "-i", *self._refused)
        self._refused = []

    def close(self) -> None:
        """Make it removable."""
        if self._refused:
            subprocess.run(["chattr", "-i", *self._refused], check=False)


class LoopDisk:
    """An ext4 file system of its own in a file, so that what reached the disk can be told from what did not."""

    def __init__(self, folder: Path, image: Path | None = None, *, options: str = "errors=remount-ro") -> None:
        self.image = image or folder / "disk.img"
        if image is None:
            with self.image.open("wb") as file:
                file.truncate(64 * 2**20)
            run("mkfs.ext4", "-q", "-F", str(self.image))
        self.folder = folder / f"{self.image.stem}-mounted"
        self.folder.mkdir()
        run("mount", "-o", f"loop,{options}", str(self.image), str(self.folder))

    @property
    def device(self) -> str:
        """The name of its block device."""
        number = os.stat(self.folder).st_dev
        return Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name

    def close(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", self.folder], check=False, capture_output=True)


class ReadOnly(LoopDisk):
    """An ext4 that met an error and made itself read-only, with everything on it open."""

    relents = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if not self._trigger.exists():
            self.close()
            pytest.skip("the kernel offers no way to cause an error of ext4")

    @property
    def _trigger(self) -> Path:
        return Path(f"/sys/fs/ext4/{self.device}/trigger_fs_error")

    def refuse(self, pids: Sequence[int]) -> None:
        """Cause the error."""
        self._trigger.write_text("a test")

    def relent(self) -> None:
        """Repair it, as an operator would with the service stopped."""
        run("umount", str(self.folder))
        subprocess.run(["e2fsck", "-fy", self.image], capture_output=True, check=False)
        run("mount", "-o", "loop,errors=remount-ro", str(self.image), str(self.folder))


DISKS: dict[str, Callable[[Path], Disk]] = {
    "full": Filled,
    "limited": Limited,
    "immutable": Immutable,
    "read-only": ReadOnly,
}
