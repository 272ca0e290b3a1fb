"""Readers: they cannot write, and no read lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from astra_core.errors import StorageError, StoreUnavailable
from astra_core.sqlite import Limits
from tests.integration.sqlite.rows import ids, insert

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def test_a_read_that_lasts_is_stopped(engine: Callable[..., Any], path: Path) -> None:
    """A read over its bound raises `StoreUnavailable`, holds no snapshot, and its connection serves on."""
    async with engine(path, limits=Limits(read=0.05)) as database:
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="too long"):
                await database.read(lambda connection: connection.execute(ENDLESS).fetchall())
        await database.write(insert(1))
        assert await database.read(ids) == {1}


async def test_a_reader_cannot_write(engine: Callable[..., Any], path: Path) -> None:
    """A write on a reader's connection is an error."""
    async with engine(path) as database:
        with pytest.raises(StorageError):
            await database.read(insert(1))
        assert await database.read(ids) == set()


async def test_a_transaction_left_open_by_a_read_is_ended(engine: Callable[..., Any], path: Path) -> None:
    """A reader's connection goes back without a snapshot that would grow old."""

    def careless(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")
        ids(connection)
        raise LookupError

    async with engine(path) as database:
        with pytest.raises(LookupError):
            await database.read(careless)
        await database.write(insert(1))
        assert await database.read(ids) == {1}
