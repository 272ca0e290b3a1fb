"""The engine over a file, with pools that are closed behind it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.events import Listeners
from astra_core.keyed import BlockingPool
from astra_core.sqlite import Database, Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

SCHEMA = Schema(application_id=0x7E57, migrations=(("CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB)",),))


@asynccontextmanager
async def engine_at(path: Path, *listeners: Any, schema: Schema = SCHEMA, **options: Any) -> AsyncIterator[Database]:
    """Open the engine at `path`."""
    writer, readers = BlockingPool("writer", threads=1, queue=8), BlockingPool("readers", threads=2, queue=64)
    database = Database(path, schema=schema, writer=writer, readers=readers, listeners=Listeners(*listeners), **options)
    try:
        async with database:
            yield database
    finally:
        await writer.close()
        await readers.close()


@pytest.fixture
def engine() -> Callable[..., Any]:
    """What opens an engine."""
    return engine_at


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where no database is yet."""
    return tmp_path / "deep" / "er" / "test.db"
