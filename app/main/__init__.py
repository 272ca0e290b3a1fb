"""The composition root, and what binds the application to the process it runs in."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from app.main.application import Application, refuse
from app.main.compose import compose, compose_codes, compose_store
from app.main.reloading import Sources
from app.main.telemetry import install_logs
from app.settings import load_settings
from astra_core.clock import SystemClock
from astra_core.config import fingerprint, folders_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.settings import Settings
    from astra_core.asgi import Receive, Send
    from astra_core.storage import StoreEngine

__all__ = ["Application", "advance_codes", "check_store", "compose", "start"]


async def start(receive: Receive, send: Send) -> Application | None:
    """Compose the application that the process's settings describe; None when that fails, which is answered."""
    try:
        environ = dict(os.environ)
        folders = folders_of(environ=environ)
        seen = fingerprint(folders)
        loaded = load_settings(environ)
        sources = Sources(load=partial(load_settings, environ), folders=folders, seen=seen)
        return compose(loaded, sources=sources, logs=install_logs(loaded.settings.log))
    except Exception as error:
        await receive()
        await refuse(send, error)
        return None


async def check_store(settings: Settings) -> None:
    """Open the store and close it again. Raises `StorageError` when it cannot be used."""
    async with _opened(settings):
        pass


async def advance_codes(settings: Settings, blocks: int) -> None:
    """Have the store's region give out no code of its next `blocks` blocks. Raises `StorageError`."""
    async with _opened(settings) as store:
        codes = compose_codes(settings, store, clock=SystemClock())
        await codes.open()
        try:
            await codes.advance(blocks)
        finally:
            await codes.close()


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[StoreEngine]:
    store, pools = compose_store(settings, SystemClock())
    try:
        await store.open()
        yield store
    finally:
        await store.close()
        for pool in pools:
            await pool.close()
