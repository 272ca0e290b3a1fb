"""Several processes, one file: fair turns, and nothing acknowledged is lost with a process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.sqlite.rows import ids

HAMMER = Path(__file__).with_name("hammer.py")
SECONDS = 3


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a hammer."""
    return subprocess.Popen(
        [sys.executable, str(HAMMER), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_two_saturating_processes_take_fair_turns(path: Path) -> None:
    """Each makes at least 30 % of the commits, no unit meets its deadline, and long waits are rare."""

    def race() -> list[dict[str, float]]:
        processes = [start("race", path, base, SECONDS) for base in (0, 10**9)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [json.loads(process.communicate(timeout=60)[0]) for process in processes]

    figures = await asyncio.to_thread(race)
    print(figures)
    total = sum(each["commits"] for each in figures)
    assert [each["failed"] for each in figures] == [0, 0]
    assert min(each["commits"] for each in figures) >= 0.3 * total
    assert max(each["max"] for each in figures) < 0.3 * SECONDS
    assert max(each["max"] / each["mean"] for each in figures) < 80
    connection = sqlite3.connect(path)
    assert len(ids(connection)) == total
    connection.close()


@pytest.mark.parametrize("turn", range(3))
async def test_a_killed_process_loses_no_acknowledged_commit(path: Path, turn: int) -> None:
    """Every row printed before `kill -9`, in each of two lives, is there, and the file is whole."""

    def live(base: int) -> set[int]:
        process = start("acks", path, base)
        assert process.stdout is not None
        acked = {int(process.stdout.readline()) for _ in range(300 + 50 * turn)}
        process.kill()
        rest = process.communicate(timeout=60)[0].split("\n")
        return acked | {int(line) for line in rest[:-1]}

    acked = await asyncio.to_thread(live, 0) | await asyncio.to_thread(live, 10**6)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert acked <= ids(connection)
    connection.close()
