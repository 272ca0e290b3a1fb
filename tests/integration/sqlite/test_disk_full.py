"""A disk that is full or refuses writes: nothing is half-written, and the engine goes on when it can."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.errors import StoreUnavailable
from astra_core.sqlite import connect
from tests.integration.sqlite.rows import ids, insert

if TYPE_CHECKING:
    from collections.abc import Callable

HAMMER = Path(__file__).with_name("hammer.py")


class Connections:
    """Opens connections and keeps the writer's, to narrow its disk and widen it again."""

    def __init__(self) -> None:
        self.opened: list[sqlite3.Connection] = []

    def __call__(self, path: str, /) -> sqlite3.Connection:
        """Open one more; the first is the writer's."""
        self.opened.append(connect(path))
        return self.opened[-1]

    def set(self, pragma: str) -> None:
        """Change a pragma of the writer."""
        self.opened[0].execute(f"PRAGMA {pragma}").fetchall()


def intact(path: Path) -> set[int]:
    """Check the file as a whole; returns its rows."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return ids(connection)
    finally:
        connection.close()


async def test_a_full_database_refuses_writes_and_recovers(engine: Callable[..., Any], path: Path) -> None:
    """Units that do not fit are told `StoreUnavailable`; those acknowledged, and no other, are there."""
    connections = Connections()
    async with engine(path, connect=connections) as database:
        connections.set("max_page_count=60")
        units = [database.write(insert(n, b"x" * (20_000 if n % 3 else 10))) for n in range(60)]
        done = await asyncio.gather(*units, return_exceptions=True)
        acked = {row for row in done if isinstance(row, int)}
        refused = [error for error in done if not isinstance(error, int)]
        assert refused
        assert {type(error) for error in refused} == {StoreUnavailable}
        assert "full" in str(refused[0])
        assert await database.read(ids) == acked
        connections.set("max_page_count=100000")
        assert await database.write(insert(1000, b"x" * 20_000)) == 1000
    assert intact(path) == acked | {1000}


async def test_a_database_that_turned_read_only_refuses_writes_and_recovers(
    engine: Callable[..., Any], path: Path
) -> None:
    """Reads go on meanwhile."""
    connections = Connections()
    async with engine(path, connect=connections) as database:
        await database.write(insert(1))
        connections.set("query_only=ON")
        with pytest.raises(StoreUnavailable, match="written"):
            await database.write(insert(2))
        assert await database.read(ids) == {1}
        connections.set("query_only=OFF")
        assert await database.write(insert(3)) == 3
        assert await database.read(ids) == {1, 3}


async def test_a_file_that_may_not_grow_refuses_writes_and_recovers(path: Path) -> None:
    """The operating system refuses to extend the WAL in the middle of a group: each failing caller is told."""
    run = [sys.executable, str(HAMMER), "full", str(path), "0", "400000"]
    done = await asyncio.to_thread(subprocess.run, run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert 10 < len(told["acked"]) < 600
    assert told["acked"][-1] == told["last"]
    assert told["reasons"]
    assert all(reason.startswith("StoreUnavailable: ") for reason in told["reasons"])
    assert intact(path) == set(told["acked"])
