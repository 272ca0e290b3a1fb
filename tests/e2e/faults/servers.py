"""The shortener in processes of its own on data that outlives them, and a look at what they left on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.faults.client import Connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from tests.e2e.conftest import Launcher, Process

__all__ = ["DEADLINE", "FULL", "Data", "figures", "seeded", "serve", "until"]

FULL = os.environ.get("ASTRA_TEST_FULL") == "1"
"""The counts of the promise itself instead of a sample."""
DEADLINE = 30.0


@dataclass(frozen=True, slots=True)
class Data:
    """A store and a journal in one folder."""

    folder: Path

    @property
    def database(self) -> Path:
        """The database file."""
        return self.folder / "astra.db"

    @property
    def journal(self) -> Path:
        """The folder of the click journal."""
        return self.folder / "journal"

    def environ(self, **settings: str) -> dict[str, str]:
        """Return what points a server here; `settings` like `CLICKS__QUOTA="1MiB"`."""
        named = {f"ASTRA_{name}": value for name, value in settings.items()}
        return {"ASTRA_STORE__URL": f"sqlite:{self.database}", "ASTRA_CLICKS__JOURNAL": str(self.journal), **named}

    def rows(self, statement: str, *values: object) -> list[Any]:
        """Read the database beside whoever serves it."""
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(statement, values).fetchall()

    def visits(self) -> dict[str, int]:
        """Return how often each code was counted."""
        return dict(self.rows("SELECT key, value FROM counters WHERE name = 'visits'"))

    def links(self) -> dict[str, dict[str, Any]]:
        """Return every stored link by its code."""
        links = [json.loads(value) for (value,) in self.rows("SELECT value FROM r_links")]
        return {link["code"]: link for link in links}

    def segments(self) -> list[str]:
        """Return the names of all files in the journal, half-made ones too."""
        return sorted(path.name for path in self.journal.rglob("*") if path.is_file())

    def is_whole(self) -> bool:
        """Whether SQLite finds nothing wrong with the file."""
        return self.rows("PRAGMA integrity_check") == [("ok",)]


def serve(launch: Launcher, data: Data, *, workers: int = 1, settings: Mapping[str, str] | None = None) -> Process:
    """Start `uvicorn app:asgi` on `data`, and wait until each of its workers answers; see `Data.environ`."""
    options = f" --workers {workers}" if workers > 1 else ""
    process = launch.bare("uvicorn --no-access-log" + options, env=data.environ(**(settings or {}))).ready()
    if workers > 1:
        process.until(f"{workers} workers started", lambda: process.stderr.count("startup complete") >= workers)
    return process


async def figures(port: int | None, name: str) -> dict[str, Any]:
    """Return what `/readyz` says of one dependency."""
    assert port is not None
    async with Connection(port) as connection:
        found: dict[str, Any] = (await connection.get("/readyz")).json()["dependencies"][name]
        return found


async def until(what: str, condition: Callable[[], Awaitable[object]]) -> float:
    """Poll until `condition` holds, and return the seconds that took; fails at the deadline."""
    began = time.monotonic()
    while not await condition():
        if time.monotonic() > began + DEADLINE:
            pytest.fail(f"not {what} within {DEADLINE} s")
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def seeded(name: str) -> random.Random:
    """Return a source of chance; `ASTRA_TEST_SEED` repeats a run, and the seed is printed."""
    seed = int(os.environ.get("ASTRA_TEST_SEED", "0")) or random.randrange(1, 2**31)
    print(f"{name}: ASTRA_TEST_SEED={seed}")
    return random.Random(f"{name}{seed}")
