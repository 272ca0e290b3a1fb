"""When the settings are read again: their files changed, SIGHUP came, or a watched source reported a change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from astra_core.config import FolderWatch, Reloader, follow_source
from astra_core.events import SettingsRefused, SettingsReloaded, SettingsUnchanged, hears

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from pathlib import Path
    from typing import Any

    from app.main.live import Live
    from app.settings import Settings
    from astra_core.clock import Clock
    from astra_core.config import Loaded, WatchedSource
    from astra_core.events import Listeners

__all__ = ["Reloading", "Sources", "compose_reloading", "log_reloads"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the settings came from, so that they can be read again.

    `seen` is the fingerprint that `folders` had before they were read; `watched` are the sources that report changes by
    themselves, by the name that logs and events give them.
    """

    load: Callable[[], Loaded[Settings]]
    folders: tuple[Path, ...] = ()
    seen: bytes = b""
    watched: Mapping[str, WatchedSource] = field(default_factory=dict)


class Reloading:
    """Calls the reloader."""

    def __init__(
        self,
        reloader: Reloader[Any],
        *,
        watch: FolderWatch | None,
        watched: Mapping[str, WatchedSource],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        clock: Clock,
    ) -> None:
        self.reloader = reloader
        self._watch = watch
        self._watched = watched
        self._spawn = spawn
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to listen."""
        if self._watch is not None:
            self._spawn(self._follow(self._watch))
        for name, source in self._watched.items():
            self._spawn(follow_source(source, self._reload_for(name), name=name, clock=self._clock))
        self._take_signal()

    def stop(self) -> None:
        """Leave SIGHUP to whoever had it. The rest ends with what was spawned."""
        if self._loop is not None:
            self._loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # one that comes while the process goes must not kill it
            self._loop = None

    async def _follow(self, watch: FolderWatch) -> None:
        async for trouble in watch.changes():
            if trouble is None:
                await self.reloader.reload("files")
            else:
                self.reloader.missed("files", trouble)

    def _reload_for(self, name: str) -> Callable[[], Coroutine[Any, Any, bool]]:
        return lambda: self.reloader.reload(name)

    def _take_signal(self) -> None:
        """Hear SIGHUP. `serve` keeps it blocked until now, so that none is lost while a worker starts."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):
            self._loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self._on_signal()))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))

    async def _on_signal(self) -> None:
        await self.reloader.reload("SIGHUP")

    def __repr__(self) -> str:
        return f"Reloading({self.reloader!r}, {self._watch!r})"


def compose_reloading(
    loaded: Loaded[Settings],
    sources: Sources | None,
    live: Live,
    *,
    spawn: Callable[[Coroutine[Any, Any, None]], object],
    run: Callable[[Callable[[], Any]], Awaitable[Any]],
    listeners: Listeners,
    clock: Clock,
) -> Reloading | None:
    """Build what reads the settings again; None where nobody knows how."""
    if sources is None:
        return None
    settings = loaded.settings.reload
    reloader = Reloader(
        loaded,
        load=sources.load,
        prepare=live.prepare,
        run=run,
        listener=listeners,
        clock=clock,
        restart_keys=settings.restart_keys,
    )
    watch = FolderWatch(sources.folders, seen=sources.seen, poll_interval=settings.poll_interval, run=run)
    return Reloading(
        reloader,
        watch=watch if settings.watch and sources.folders else None,
        watched=sources.watched,
        spawn=spawn,
        clock=clock,
    )


@hears(SettingsReloaded, SettingsRefused, SettingsUnchanged)
def log_reloads(event: object) -> None:
    """Log what became of settings that were read again; one problem is told once, however often it is met."""
    match event:
        case SettingsReloaded():
            logger.info(
                "settings reloaded by %s: %s",
                event.source,
                "; ".join(event.changes),
                extra={
                    "source": event.source,
                    "version": event.version,
                    "old_checksum": event.old_checksum,
                    "new_checksum": event.new_checksum,
                    "changes": list(event.changes),
                },
            )
            _log_pending(event.pending)
        case SettingsRefused():
            if not event.again or event.source == "SIGHUP":
                logger.error(
                    "settings of %s refused, those of %s stay in force: %s",
                    event.source,
                    event.checksum,
                    "; ".join(event.problems),
                    extra={"source": event.source, "checksum": event.checksum, "problems": list(event.problems)},
                )
        case SettingsUnchanged():
            logger.info("settings read again by %s: nothing changed", event.source)
            _log_pending(event.pending)
        case _:
            pass


def _log_pending(pending: tuple[str, ...]) -> None:
    if pending:
        logger.warning("these settings wait for a restart: %s", ", ".join(pending))
