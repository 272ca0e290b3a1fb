"""Processes that are killed while they put the entries of a deferred index in order."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.sqlite.settling import EVERY, mark

PROGRAM = Path(__file__).with_name("settling.py")
ROOT = Path(__file__).resolve().parents[3]
KILLS = 100 if os.environ.get("ASTRA_TEST_FULL") else 8
SEED = int(os.environ.get("ASTRA_TEST_SEED") or time.time_ns() % 2**31)


@pytest.mark.timeout(60 + 6 * KILLS)
async def test_each_record_has_its_entry_once_however_often_processes_are_killed(tmp_path: Path) -> None:
    """Two at a time write to one file; what was acknowledged is there, with one entry, in one of the two tables."""
    chance, path = random.Random(SEED), tmp_path / "a.db"

    def kill_again_and_again() -> tuple[set[int], set[int]]:
        made, gone = set[int](), set[int]()
        for turn in range(KILLS):
            told = [tmp_path / f"{turn}-{n}" for n in range(2)]
            two = [_start(path, (2 * turn + n) * 10**7, told[n]) for n in range(2)]
            _until_both_write(told)
            time.sleep(chance.random() * 0.4)
            for process in two:
                process.kill()
            for process, lines in zip(two, told, strict=True):
                assert not process.communicate(timeout=30)[1]
                for line in lines.read_text(encoding="ascii").splitlines(keepends=True):
                    if line.endswith("\n"):
                        (made if line[0] == "+" else gone).add(int(line[1:]))
            _check(path, made - gone, gone)
        return made, gone

    made, gone = await asyncio.to_thread(kill_again_and_again)
    with closing(sqlite3.connect(path)) as connection:
        (settled,) = connection.execute('SELECT count(*) FROM "x:things:mark"').fetchone()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    print(f"{KILLS} kills of two: {len(made)} made, {len(gone)} deleted, {settled} entries in order; seed {SEED}")
    assert settled > len(made) // 3


def _start(path: Path, base: int, told: Path) -> subprocess.Popen[str]:
    with told.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), str(path), str(base)],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )


def _until_both_write(told: list[Path]) -> None:
    end = time.monotonic() + 30
    while not all(lines.stat().st_size for lines in told):
        assert time.monotonic() < end
        time.sleep(0.005)


def _check(path: Path, there: set[int], gone: set[int]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        records = {int(row[0][1:]) for row in connection.execute("SELECT key FROM r_things")}
        entries = [
            row
            for name in ("x:things:mark", "x:things:mark:fresh")
            for row in connection.execute(f'SELECT p0, p1, key FROM "{name}"')
        ]
    assert all(number % EVERY == 0 for number in there - records)  # deleted, and killed before it could say so
    assert not gone & records
    assert sorted(entries) == sorted((mark(number), number, f"k{number}") for number in records)
