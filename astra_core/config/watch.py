"""When to read settings again: their folders changed, or a watched source says that it did.

A folder is watched, never a file: an editor replaces a file by renaming another one over it, and a mounted ConfigMap
changes by renaming the link `..data`. What the operating system tells is a hint; a checksum over the files decides,
and is taken every now and then without a hint too, for file systems that tell nothing (NFS, some overlays).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol

from astra_core.config.sources import Source
from astra_core.errors import AstraError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

    from astra_core.clock import Clock

__all__ = ["FolderWatch", "WatchedSource", "fingerprint", "follow_source"]

logger = logging.getLogger(__name__)

_SETTLE_MS = 50
"""Changes that come within this time are one: an editor that saves makes several."""
_MOST = 4 * 1024 * 1024
"""Bytes of one file that enter the checksum; settings have a few thousand."""
_UNKNOWN = b""
"""The fingerprint of folders that could not be looked at: no folders have it."""
_PAUSE = 1.0
_LONGEST_PAUSE = 60.0


class WatchedSource(Source, Protocol):
    """A source that tells when it changed, such as a coordination service."""

    async def changed(self) -> None:
        """Return when what `read` gives may have changed since the last return, or since the source was made.

        Raises `AstraError` or `OSError` when the connection is lost; it is then called again, after a pause.
        """
        ...


class FolderWatch:
    """Tells when the files in `folders` differ from how they were at `seen`, their fingerprint, or when last told.

    Take the fingerprint before you read the settings: a change while they are read is not missed then.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        seen: bytes,
        poll_interval: float,
        run: Callable[[Callable[[], Any]], Awaitable[Any]],
    ) -> None:
        self.poll_interval = poll_interval
        self._folders = tuple(folders)
        self._run = run
        self._seen = seen

    async def changes(self) -> AsyncGenerator[Exception | None, None]:
        """Yield None, for ever, when something changed; also at once, when it did so before the call.

        A look that fails yields why. The next one that does not yields None: nobody knows what changed meanwhile.
        """
        while True:
            places = _places(self._folders)
            async with aclosing(self._hints()) as hints:
                async for _ in hints:
                    trouble = None
                    try:
                        seen = await self._run(lambda: fingerprint(self._folders))
                    except Exception as error:
                        seen, trouble = _UNKNOWN, error
                    if trouble is not None or seen != self._seen:
                        self._seen = seen
                        yield trouble
                    if trouble is None and _places(self._folders) != places:
                        break  # another folder stands there now, under the old name: watch that one

    async def _hints(self) -> AsyncGenerator[None, None]:
        from watchfiles import awatch  # costs 20 ms: never at import

        yield
        try:
            changes = awatch(
                *(folder for folder in self._folders if folder.is_dir()),
                watch_filter=None,
                debounce=_SETTLE_MS,
                step=_SETTLE_MS // 2,
                rust_timeout=int(self.poll_interval * 1000),
                yield_on_timeout=True,
                recursive=False,
            )
            async with aclosing(changes):
                async for _ in changes:
                    yield
        except (OSError, RuntimeError) as error:  # no folder, or no more watches to be had: the checksum remains
            logger.debug("settings folders are polled, not watched: %s", error)
        while True:
            await asyncio.sleep(self.poll_interval)
            yield

    def __repr__(self) -> str:
        return f"FolderWatch({', '.join(map(str, self._folders))}, poll_interval={self.poll_interval})"


def _places(folders: Sequence[Path]) -> tuple[tuple[int, int] | None, ...]:
    return tuple(_place(folder) for folder in folders)


def _place(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def fingerprint(folders: Sequence[Path]) -> bytes:
    """Return a checksum over the names and contents of the files that stand in `folders` themselves. Blocks."""
    digest = hashlib.sha256()
    for folder in folders:
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            digest.update(f"{folder}: {error.errno}\0".encode())
            continue
        for path in paths:
            digest.update(f"{path.name}\0".encode("utf-8", "surrogateescape"))
            try:
                if path.is_file():
                    with path.open("rb") as file:
                        content = file.read(_MOST)
                    digest.update(len(content).to_bytes(8))
                    digest.update(content)
            except OSError as error:
                digest.update(f"{error.errno}\0".encode())
    return digest.digest()


async def follow_source(
    source: WatchedSource, reload: Callable[[], Awaitable[object]], *, name: str, clock: Clock
) -> None:
    """Call `reload` each time `source` changed, for ever; while it is away, ask again after pauses that grow."""
    pause = _PAUSE
    while True:
        try:
            await source.changed()
        except Exception as error:
            if pause == _PAUSE:  # once, not at every try
                unexpected = not isinstance(error, (AstraError, OSError))
                logger.warning("settings of %s are not watched just now: %s", name, error, exc_info=unexpected)
            await clock.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            pause = _PAUSE
            await reload()
