"""`astra import` from its command line to its exit code and its lines, over a store of its own."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from subprocess import PIPE
from threading import Thread
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from app.cli.command import parser
from app.cli.importing import import_file
from app.cli.progress import ProgressShown, line_of, size_of
from app.imports import LIFE, Format, ImportState
from tests.unit.app.cli.views import view

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., int]

ROOT = Path(__file__).parents[4]
GOOD = b"url\nhttps://a.example/1\nhttps://a.example/2\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in a folder of its own, on a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASTRA_STORE__URL", f"sqlite:{tmp_path}/own.db")
    monkeypatch.setenv("ASTRA_IMPORTS__FOLDER", f"{tmp_path}/own")
    (tmp_path / "good.csv").write_bytes(GOOD)
    (tmp_path / "bad.csv").write_bytes(GOOD + b"ftp://a.example\n")

    def run(*arguments: object) -> int:
        return import_file(parser().parse_args(["import", *map(str, arguments)]))

    return run


@pytest.mark.parametrize(
    ("report", "words"),
    [("nowhere/report.csv", "No such file"), ("good.csv", "is the file to import"), (".", "Is a directory")],
)
def test_a_report_that_cannot_be_written_is_refused_before_a_link_is_made(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], report: str, words: str
) -> None:
    """Exit code 2 and one line; not even a store is there afterwards, and the file to import is as it was."""
    assert run("good.csv", "--report", report) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"astra: --report {report} ")
    assert words in line
    assert not (tmp_path / "own.db").exists()
    assert (tmp_path / "good.csv").read_bytes() == GOOD


def test_an_import_that_is_refused_leaves_the_report_as_it_was(run: Run, tmp_path: Path) -> None:
    """One that was there keeps what it holds, one that was not is not there."""
    (tmp_path / "empty.csv").touch()
    (tmp_path / "old.csv").write_text("old")
    assert run("empty.csv", "--report", "old.csv") == 2
    assert run("empty.csv", "--report", "new.csv") == 2
    assert (tmp_path / "old.csv").read_text() == "old"
    assert not (tmp_path / "new.csv").exists()


def test_a_report_that_cannot_be_written_later_is_not_all_that_is_lost(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The summary and the id are printed all the same, and the command that gets the report again works."""
    assert run("bad.csv", "--report", "/dev/full") == 1
    printed = capsys.readouterr()
    assert "is done: 2 links made" in printed.out
    key = printed.out.split("import ")[1].split()[0]
    assert "/dev/full: the report was not written" in printed.err
    assert f"get it with --resume {key} --report FILE" in printed.err
    assert run("--resume", key, "--report", "report.csv") == 3
    assert len((tmp_path / "report.csv").read_text().splitlines()) == 4


def test_after_failures_the_command_says_where_the_reasons_are(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """In the report if there is one, else by which command; nothing of it when no row failed."""
    assert run("bad.csv") == 3
    printed = capsys.readouterr().out
    key = printed.split("import ")[1].split()[0]
    assert f"get it with --resume {key} --report FILE" in printed
    assert run("bad.csv", "--report", "report.csv") == 3
    assert "the reasons are in report.csv" in capsys.readouterr().out
    assert run("good.csv") == 0
    assert "reasons" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--resume", "nope"], "astra: no import has the id 'nope'"),
        (["folder"], "astra: folder is a directory: name a file of links"),
        (["folder", "--format", "csv", "--server", "http://127.0.0.1:1"], "astra: folder is a directory: name a"),
        (["missing.csv"], "astra: missing.csv: there is no such file"),
        (["pipe", "--format", "csv"], "astra: pipe is no regular file; "),
        (["/dev/zero", "--format", "csv"], "astra: /dev/zero is no regular file; "),
        (["-"], "astra: /dev/stdin: say what it is with --format csv"),
        (["good.csv", "--resume", "nope"], "astra: --resume goes on with the file that the import has: leave good.csv"),
    ],
)
def test_what_is_not_there_is_named(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    """An import that nobody knows, what is no file, one too many: exit code 2 and one line."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert run(*arguments) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(line)


NAMES = ((b"caf\xe9.csv", "caf\ufffd.csv"), (b"two\nlines.csv", "two\ufffdlines.csv"))


@pytest.mark.parametrize(("name", "shown"), NAMES)
def test_a_file_may_have_a_name_that_is_no_text(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: bytes, shown: str
) -> None:
    """Bytes that are not UTF-8, or a line feed: the import has a name that can be shown, and so has the report."""
    (tmp_path / os.fsdecode(name)).write_bytes(GOOD + b"ftp://a.example\n")
    assert run(os.fsdecode(name), "--report", os.fsdecode(b"r-" + name)) == 3
    printed = capsys.readouterr().out
    printed.encode()
    assert f"the reasons are in r-{shown}\n" in printed
    with closing(sqlite3.connect(tmp_path / "own.db")) as store:
        (row,) = store.execute(f"SELECT value FROM r_{LIFE.name}")
    assert shown in json.dumps(json.loads(row[0]), ensure_ascii=False)


class Refusing(BaseHTTPRequestHandler):
    """A service that takes no file and keeps the names of those it was sent."""

    names: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Refuse."""
        self.names.append(parse_qs(urlsplit(self.path).query)["name"][0])
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_request(self, code: int | str = "", size: int | str = "") -> None:
        """Say nothing."""


@pytest.mark.parametrize(("name", "shown"), NAMES)
def test_a_name_that_is_no_text_can_be_sent(run: Run, tmp_path: Path, name: bytes, shown: str) -> None:
    """In place of what is no text stand characters that every service takes."""
    (tmp_path / os.fsdecode(name)).write_bytes(GOOD)
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        answering = Thread(target=server.handle_request)
        answering.start()
        assert run(os.fsdecode(name), "--server", f"http://127.0.0.1:{server.server_port}") == 1
        answering.join()
    assert Refusing.names.pop() == shown


def astra_import(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the command in a process of its own, whose standard input is a pipe."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "ASTRA_IMPORTS__FOLDER": str(folder / "own")}
    command = (sys.executable, "-m", "app", "import", *arguments)
    return subprocess.Popen(command, cwd=folder, env=environ, stdin=PIPE, stdout=PIPE, stderr=PIPE)


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    """However it comes, in one piece or in many."""
    with astra_import(tmp_path, name, "--format", "csv") as process:
        assert process.stdin is not None
        for line in GOOD.splitlines(keepends=True):
            process.stdin.write(line)
            process.stdin.flush()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert b"2 links made" in out


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (5_120, "5.1 KB"), (99_949, "99.9 KB"), (100_000, "0.1 MB")],
)
def test_small_sizes_are_not_said_in_megabytes(count: int, words: str) -> None:
    """A file of some kilobytes is not 0.0 MB long."""
    assert size_of(count) == words
    stream = io.StringIO()
    ProgressShown(stream, monotonic=lambda: 0.0).sending(count, count)
    assert stream.getvalue().endswith(f"sending, {words} of {words}\n")


def test_the_time_left_comes_from_the_rate() -> None:
    """8,000 rows at 100 a second are 80 seconds."""
    shown = line_of(view(ImportState.RUNNING, Format.CSV, rows=10_000, done=2_000, rate=100.0))
    assert "2,000 of 10,000 rows  100/s  1:20 left" in shown
