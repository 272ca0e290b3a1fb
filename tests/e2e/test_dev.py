"""`.ci/dev.py` in a checkout of its own, whose application only tells how it was called."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.cli.command import parser

ROOT = Path(__file__).resolve().parents[2]
TELLS = """\
import json, os, sys

def main():
    print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd(), "prefix": sys.prefix}))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, with a space in its name, that holds the command, a lock file without pins, and the application."""
    folder = tmp_path_factory.mktemp("a checkout")
    (folder / ".ci" / "lock").mkdir(parents=True)
    (folder / ".ci" / "dev.py").write_bytes((ROOT / ".ci" / "dev.py").read_bytes())
    (folder / ".ci" / "lock" / "run.txt").touch()
    (folder / "app").mkdir()
    (folder / "app" / "__init__.py").touch()
    (folder / "app" / "cli.py").write_text(TELLS)
    (folder / "app" / "__main__.py").write_text("from app.cli import main\nmain()\n")
    return folder


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`, with nothing of this process's own paths."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=100, check=False)


def dev(checkout: Path, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `.ci/dev.py` of `checkout`."""
    return run(sys.executable, checkout / ".ci" / "dev.py", *arguments, folder=folder or checkout)


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What the application told, in its last line."""
    assert done.returncode == 0, done.stderr
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


def environment(checkout: Path) -> Path:
    """Where the environment is kept."""
    return checkout / ".venv" / "run-{}.{}".format(*sys.version_info[:2])


def test_commands_of_the_application_are_passed_through(checkout: Path) -> None:
    """With their arguments, in the folder of the checkout; the second start installs nothing."""
    first = told(dev(checkout, "settings", "show", "--json"))
    assert first["arguments"] == ["settings", "show", "--json"]
    assert (first["folder"], first["prefix"]) == (str(checkout), str(environment(checkout)))
    again = dev(checkout, "worker")
    assert told(again)["arguments"] == ["worker"]
    assert len(again.stdout.splitlines()) == 1


def test_files_are_found_from_the_callers_folder(checkout: Path, tmp_path: Path) -> None:
    """What the caller names stays what it is, though the command runs in the checkout."""
    (tmp_path / "links.csv").touch()
    done = dev(checkout, "import", "links.csv", "--report", "report.csv", "--format", "csv", folder=tmp_path)
    assert told(done)["arguments"] == [
        *("import", str(tmp_path / "links.csv")),
        *("--report", str(tmp_path / "report.csv"), "--format", "csv"),
    ]
    assert told(done)["folder"] == str(checkout)
    (tmp_path / "a=b.csv").touch()
    done = dev(checkout, "import", "a=b.csv", "--report=report=1.csv", folder=tmp_path)
    assert told(done)["arguments"] == ["import", str(tmp_path / "a=b.csv"), f"--report={tmp_path}/report=1.csv"]


def test_the_environment_has_the_command(checkout: Path, tmp_path: Path) -> None:
    """`astra` stands there, and runs this checkout's application in whatever folder; it is put back when it is gone."""
    astra = environment(checkout) / "bin" / "astra"
    told(dev(checkout, "settings"))
    assert told(run(astra, "serve", "--port", "0", folder=tmp_path)) == {
        "arguments": ["serve", "--port", "0"],
        "folder": str(tmp_path),
        "prefix": str(environment(checkout)),
    }
    astra.unlink()
    told(dev(checkout, "settings"))
    assert told(run(astra, folder=tmp_path))["arguments"] == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["seve"], "dev.py: seve: unknown command; did you mean serve?"),
        (["frobnicate"], "dev.py: frobnicate: unknown command; known: serve, settings, import, worker, codes, test"),
        ([], "dev.py: name a command: serve, settings, import, worker, codes, test; --help says what each does"),
    ],
)
def test_what_is_no_command_is_named(checkout: Path, arguments: list[str], line: str) -> None:
    """One line and exit code 2, before anything is installed."""
    done = dev(checkout, *arguments)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (2, "", line)


def test_every_command_of_the_application_is_known(checkout: Path) -> None:
    """`--help` names each of them."""
    (commands,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    shown = dev(checkout, "--help").stdout
    assert [name for name in commands.choices if f".ci/dev.py {name} " not in shown] == []
