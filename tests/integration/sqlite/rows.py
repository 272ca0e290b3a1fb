"""Units of work that the engine's tests share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

__all__ = ["ids", "insert", "until"]


def insert(row: int, data: bytes = b"") -> Callable[[sqlite3.Connection], int]:
    """A unit that inserts one row and returns its number."""

    def unit(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO rows VALUES (?, ?)", (row, data))
        return row

    return unit


def ids(connection: sqlite3.Connection) -> set[int]:
    """Every row's number."""
    return {row for (row,) in connection.execute("SELECT id FROM rows").fetchall()}


async def until(condition: Callable[[], object]) -> None:
    """Poll until `condition()` holds, at most some ten seconds."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came true")
