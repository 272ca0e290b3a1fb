"""The application and its life: what is opened, what runs beside the requests, and what is closed, in order."""

from __future__ import annotations

import asyncio
import gc
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from app.main.process import ProcessWatch, announce_ready, refuse_start
from astra_core.errors import AstraError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.api import HealthApi
    from app.clicks import ClickCounter, Journal
    from app.codes import CodeFactory
    from app.edge import Drain
    from app.links import Follower, Resolver
    from app.main.background import Background
    from app.main.embedding import ImportService
    from app.main.folders import StoreFolders
    from app.main.leading import Leader
    from app.main.live import Live
    from app.main.reloading import Reloading
    from app.main.telemetry import Telemetry
    from app.service import IdempotencyKeys
    from app.settings import Settings
    from astra_core.asgi import ASGIApp, Receive, Scope, Send
    from astra_core.clock import Clock
    from astra_core.keyed import BlockingPool
    from astra_core.storage import StoreEngine

__all__ = ["Application", "reason_of", "refuse"]

logger = logging.getLogger(__name__)

_PURGE_INTERVAL = 10.0
_PURGE_PAUSE = 0.02
"""Seconds between two commits of a purge: with 100 keys each, more go a second than can come."""
_TRIM_INTERVAL = 0.5
_TRIM_SLICE = 500
_LAST_COUNT = 0.5
"""Seconds that the last counting of clicks may take; what it does not reach stays in its segment."""


class Application:
    """An ASGI application with a lifespan. `edge` answers requests once `open` returned; `live` are its settings."""

    def __init__(
        self,
        edge: ASGIApp,
        *,
        settings: Settings,
        store: StoreEngine,
        codes: CodeFactory,
        folders: StoreFolders,
        resolver: Resolver,
        follower: Follower,
        journal: Journal,
        counter: ClickCounter,
        keys: IdempotencyKeys,
        leader: Leader,
        drain: Drain,
        health: HealthApi,
        background: Background,
        pools: Sequence[BlockingPool],
        imports: ImportService,
        telemetry: Telemetry,
        live: Live,
        reloading: Reloading | None,
        clock: Clock,
    ) -> None:
        self.edge = edge
        self.live = live
        self._settings = settings
        self._store = store
        self._codes = codes
        self._folders = folders
        self._resolver = resolver
        self._follower = follower
        self._journal = journal
        self._counter = counter
        self._keys = keys
        self._leader = leader
        self._drain = drain
        self._health = health
        self._background = background
        self._pools = pools
        self._imports = imports
        self.telemetry = telemetry
        self._reloading = reloading
        self._clock = clock
        self._lifespan: asyncio.Task[Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        else:
            await self.edge(scope, receive, send)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        """Speak the ASGI lifespan protocol; a start that fails is one clear line, and nothing half-started serves."""
        await receive()
        self._lifespan = asyncio.current_task()
        watch = ProcessWatch(asyncio.get_running_loop(), drain_timeout=self._settings.server.drain_timeout)
        try:
            watch.start(self.drain)
            await self.open()
        except Exception as error:
            try:
                await self.close()
            except Exception:
                logger.exception("what was opened did not close")
            watch.stop()
            await refuse(send, error)
            return
        await send({"type": "lifespan.startup.complete"})
        announce_ready()
        await receive()
        watch.begin()
        await self.close()
        watch.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def open(self) -> None:
        """Open the store and the journal, then start what runs beside the requests. Raises `AstraError`, `OSError`."""
        await self._store.open()
        await self._codes.open()
        await self._folders.open(self._store)
        await self._follower.open()
        await self._journal.open(self._folders.name, heir=self._folders.lasting)
        spawn = self._background.spawn
        spawn(self._follower.run())
        spawn(self._journal.keep())
        spawn(self._counter.run())
        spawn(self._leader.run())
        spawn(self._purge())
        spawn(self._trim())
        await self._imports.open(self._folders.name)
        spawn(self._imports.tidy())
        await self.telemetry.open(spawn, within=self._folders.name)
        if self._reloading is not None:
            self._reloading.start()
        gc.collect()
        gc.freeze()  # what was made until now lives as long as the process: no collection looks at it again
        gc.set_threshold(self._settings.server.gc_threshold)

    def drain(self) -> None:
        """Shutdown began: no new traffic, and a request still under way after the drain timeout is cancelled."""
        self._health.drain()
        self._drain.begin()
        cancel = partial(self._drain.cancel, spare=self._lifespan)
        asyncio.get_running_loop().call_later(self._settings.server.drain_timeout, cancel)

    async def close(self) -> None:
        """Stop what runs, count what can be counted at once, and close."""
        if self._reloading is not None:
            self._reloading.stop()
        await self._imports.close()
        await self._background.close(timeout=_LAST_COUNT)
        try:
            async with asyncio.timeout(_LAST_COUNT):
                await self._counter.finish()
        except (AstraError, OSError) as error:
            logger.warning("clicks stay in the journal for the next start: %s", str(error) or "no time left")
        await self._codes.close()
        await self._leader.close()
        await self._store.close()
        # Last: a commit whose caller was cancelled has landed by now, so whoever takes the lock reads its position.
        await self._journal.close()
        await self.telemetry.close()
        await self._folders.close()
        for pool in self._pools:
            await pool.close()

    async def _trim(self) -> None:
        """Have caches that were made smaller shrink, in slices of about 0.2 ms, for ever."""
        while True:
            await self._clock.sleep(_TRIM_INTERVAL)
            for cache in (self._resolver.entries, self._resolver.unknowns):
                while cache.trim(_TRIM_SLICE):  # noqa: ASYNC110 - it is work in slices, not waiting
                    await asyncio.sleep(0)

    async def _purge(self) -> None:
        """Remove expired idempotency keys, in small batches, for ever."""
        while True:
            await self._clock.sleep(_PURGE_INTERVAL)
            try:
                while await self._keys.purge():
                    await self._clock.sleep(_PURGE_PAUSE)
            except AstraError:  # the store is away: the next round will do
                pass
            except Exception:
                logger.exception("removing expired idempotency keys")


async def refuse(send: Send, error: Exception) -> None:
    """Refuse the start, whatever came: what is raised here a server takes for a missing lifespan, and serves."""
    if not isinstance(error, (AstraError, OSError)):
        logger.error("the start failed", exc_info=error)
    await refuse_start(send, reason_of(error))


def reason_of(error: Exception) -> str:
    """Return why the start failed, in one line."""
    if isinstance(error, ConfigError):
        return "; ".join(error.problems)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, (AstraError, OSError)):
        return str(error) or type(error).__name__
    return f"{type(error).__name__}: {error}".removesuffix(": ")
