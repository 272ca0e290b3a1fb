"""Folders that services may share, and in each the folder of one store: nobody else touches what is in it.

A store that lasts has a folder of its identity's name, for as long as there is the store. A store in memory ends with
its process, and so does the worth of its files: its folder is held by a lock for that long, and whoever finds it
without removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from app.main.identity import settle_identity
from astra_core.errors import AstraError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from app.settings import Settings
    from astra_core.storage.store import Store

__all__ = ["StoreFolders", "compose_folders"]

logger = logging.getLogger(__name__)

_PASSING = "memory-"
_STORES = re.compile(f"({_PASSING})?[0-9a-f]{{32}}")


class StoreFolders:
    """The folders of one store within those that are `shared`; `lasting` is whether the store outlives its process.

    `name` is theirs in each of them, once open. `run` calls what blocks.
    """

    def __init__(
        self, shared: Sequence[Path], *, lasting: bool, run: Callable[[Callable[[], None]], Awaitable[Any]]
    ) -> None:
        self.lasting = lasting
        self.name = ""
        self._shared = tuple(dict.fromkeys(shared))
        self._run = run
        self._held: list[tuple[Path, int]] = []

    async def open(self, store: Store) -> None:
        """Learn the name of `store`, hold what ends with this process, and remove what ended with another one.

        Raises `StorageError`. A folder that cannot be made or looked at is left to those who need it, to say so.
        """
        self.name = ("" if self.lasting else _PASSING) + await settle_identity(store)
        with contextlib.suppress(AstraError):  # a folder of a network may hang
            await self._run(self._settle)

    async def close(self) -> None:
        """Remove what ends with this process; its user has closed it."""
        if self._held:
            await self._run(self._leave)

    def _settle(self) -> None:
        others = [folder for folder in self._shared if self._settle_in(folder)]
        if others:
            logger.info("files of another store are left to it: %s", ", ".join(map(str, others)))

    def _settle_in(self, shared: Path) -> bool:
        """Settle in a folder; returns whether another store has files there."""
        with contextlib.suppress(OSError):
            if not self.lasting:
                self._held.append((shared / self.name, _hold(shared / self.name)))
            others = [path for path in shared.iterdir() if _STORES.fullmatch(path.name) and path.name != self.name]
            return any([_has_files(path) for path in others])  # noqa: C419 - each must be looked at
        return False

    def _leave(self) -> None:
        while self._held:
            path, fd = self._held.pop()
            shutil.rmtree(path, ignore_errors=True)
            os.close(fd)

    def __repr__(self) -> str:
        return f"StoreFolders({self.name or 'not open'})"


def compose_folders(settings: Settings, *, run: Callable[[Callable[[], None]], Awaitable[Any]]) -> StoreFolders:
    """Build it for every folder of the settings that services may share."""
    shared = (settings.clicks.journal, settings.imports.folder, settings.metrics.folder)
    return StoreFolders([Path(path) for path in shared], lasting=settings.store.engine != "memory", run=run)


def _hold(path: Path) -> int:
    """Make a folder and lock it for this process; who removes those without a lock may be in between, so try again."""
    while True:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            fd = _locked(path, fcntl.LOCK_EX)
            try:
                if os.path.samestat(os.fstat(fd), path.stat()):
                    return fd
            except FileNotFoundError:
                pass
            os.close(fd)


def _locked(path: Path, how: int) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, how)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _has_files(path: Path) -> bool:
    """Whether another store has files in its folder; what a store in memory left behind is removed first."""
    try:
        if path.name.startswith(_PASSING):
            fd = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            os.close(fd)
        return any(path.iterdir())
    except BlockingIOError:
        return True
    except OSError:
        return False
