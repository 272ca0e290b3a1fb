"""Reads of several statements of which one fails: what is told is that failure, and the connection serves on."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from astra_core.errors import MessagingUnavailable, StoreUnavailable
from astra_core.keyed import BlockingPool
from astra_core.messaging.sqlite import SqliteMessaging
from astra_core.storage import Collection, Index, Query, SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

THINGS = Collection(name="things", indexes=(Index(name="made"),))


class FailingDisk(sqlite3.Connection):
    """Fails at a SELECT while `fails`, its transaction rolled back: what SQLite does when a disk fails."""

    fails: ClassVar[bool] = False
    rolls_back: ClassVar[bool] = True

    def execute(self, sql: str, /, *args: Any) -> sqlite3.Cursor:
        """Run a statement, or fail."""
        if FailingDisk.fails and self.in_transaction and sql.startswith("SELECT"):
            if FailingDisk.rolls_back:
                super().execute("ROLLBACK")
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return super().execute(sql, *args)


def connect(path: str, /) -> sqlite3.Connection:
    """Open a connection to such a disk."""
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, factory=FailingDisk)


@asynccontextmanager
async def pools() -> AsyncIterator[dict[str, Any]]:
    """What an engine needs."""
    made = {name: BlockingPool(name, threads=1, queue=8) for name in ("writer", "readers")}
    try:
        yield made
    finally:
        for pool in made.values():
            await pool.close()


@pytest.fixture(params=[True, False], ids=["rolled back", "left open"])
def disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[FailingDisk]:
    """A disk that does not fail yet, and what becomes of the transaction when it does."""
    monkeypatch.setattr(FailingDisk, "fails", False)
    monkeypatch.setattr(FailingDisk, "rolls_back", request.param)
    return FailingDisk


async def test_a_filtered_query_tells_that_the_disk_failed(tmp_path: Path, disk: type[FailingDisk]) -> None:
    """So breaker and retries see it; the next one is answered."""
    query = Query(collection="things", index="made", contains="x")
    async with pools() as two, SqliteStore(tmp_path / "a.db", collections=[THINGS], connect=connect, **two) as store:
        await store.find(query)
        disk.fails = True
        with pytest.raises(StoreUnavailable, match="the disk failed"):
            await store.find(query)
        disk.fails = False
        assert not (await store.find(query)).records


async def test_topics_tell_that_the_disk_failed(tmp_path: Path, disk: type[FailingDisk]) -> None:
    """As queries do."""
    async with pools() as two, SqliteMessaging(tmp_path / "a.db", connect=connect, **two) as engine:
        await engine.topics()
        disk.fails = True
        with pytest.raises(MessagingUnavailable, match="the disk failed"):
            await engine.topics()
        disk.fails = False
        assert not await engine.topics()
