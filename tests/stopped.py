"""Processes that SIGSTOP holds where only themselves are to be late."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["stop_outside_of_transactions"]


def stop_outside_of_transactions(pid: int, databases: Iterable[Path]) -> None:
    """Stop a process where it holds no write lock of `databases`; with one, nobody could write until it goes on."""
    files = tuple(databases)
    for _ in range(200):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.02)
        if all(_is_writable(file) for file in files):
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.013)
    raise AssertionError("it never stopped outside of a transaction")


def _is_writable(database: Path) -> bool:
    """Whether a transaction can begin; other processes hold the lock for a moment only."""
    with contextlib.closing(sqlite3.connect(database, timeout=1.0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True
