"""A store that is lost and restored from a backup, as docs/backup.md says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Launcher, Process


def astra(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the application in `folder`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASTRA_")}
    environ = {**clean, "PYTHONPATH": str(ROOT), **settings}
    command = (sys.executable, "-P", "-m", "app", *arguments)
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


def made(process: Process, count: int) -> list[str]:
    """Make links, and return their codes."""
    codes = []
    with contextlib.closing(process.connection()) as connection:
        for number in range(count):
            body = json.dumps({"url": f"https://example.com/{number}"})
            connection.request("POST", "/v1/links", body=body, headers={"content-type": "application/json"})
            codes.append(json.loads(connection.getresponse().read())["code"])
    return codes


def ended(process: Process) -> None:
    """Stop a service in order."""
    process.signal(signal.SIGTERM)
    assert process.code() == 0


def copied(source: Path, target: Path) -> None:
    """Back a database up as SQLite does it, whoever is writing."""
    with contextlib.closing(sqlite3.connect(source)) as one, contextlib.closing(sqlite3.connect(target)) as other:
        one.backup(other)


@pytest.mark.parametrize("advance", [True, False])
def test_codes_given_out_since_the_backup_do_not_come_again(launch: Launcher, tmp_path: Path, advance: bool) -> None:
    """Told to skip them, the store gives out others; untold it gives them out again, for it cannot know."""
    store, backup = tmp_path / "astra.db", tmp_path / "backup.db"
    settings = {"ASTRA_STORE__URL": f"sqlite:{store}"}
    server = launch.serve(env=settings).ready()
    kept = made(server, 3)
    copied(store, backup)
    ended(server)
    server = launch.serve(env=settings).ready()
    lost = made(server, 20)
    ended(server)
    for suffix in ("-wal", "-shm"):
        store.with_name(store.name + suffix).unlink(missing_ok=True)
    backup.replace(store)
    if advance:
        done = astra(tmp_path, "codes", "advance", **settings)
        assert (done.returncode, done.stderr) == (0, "")
        assert "the next 10,000,000 codes of region 0 are not given out" in done.stdout
    server = launch.serve(env=settings).ready()
    new = made(server, 20)
    assert bool(set(new) & set(lost)) is not advance
    assert not set(new) & set(kept)
    assert [server.get(f"/{code}")[0] for code in kept] == [302] * 3


def test_without_a_store_nothing_is_skipped_and_none_is_made(tmp_path: Path) -> None:
    """One clear line, and the exit code that is promised."""
    done = astra(tmp_path, "codes", "advance")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"astra: there is no store at {tmp_path}/data/astra.db; restore it first\n"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "astra.db").write_bytes(b"no database at all, whatever its name is" * 100)
    done = astra(tmp_path, "codes", "advance")
    assert done.returncode == 1
    assert done.stderr.startswith("astra: no code is skipped: ")
    assert done.stderr.count("\n") == 1
    done = astra(tmp_path, "codes", "advance", ASTRA_STORE__URL="memory:")
    assert done.returncode == 2
    assert done.stderr == "astra: settings: store.url: memory: ends with its process, so there is nothing to restore\n"
