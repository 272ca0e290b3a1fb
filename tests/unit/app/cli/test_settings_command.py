"""`settings show`, `check`, `schema` and `diff`: what they print, what they hide, how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import app
from app.cli.settings import document

ROOT = Path(app.__file__).parents[1]


def run(*arguments: str, folder: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ASTRA_")}
    environ |= {"ASTRA_SETTINGS": str(folder or ROOT / "settings"), **variables}
    return subprocess.run(
        [sys.executable, "-m", "app", "settings", *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an environment and a secret."""
    (tmp_path / "development.yaml").write_text("cache: {ttl: 7s}\n")
    (tmp_path / ".secrets.yaml").write_text(f'codes: {{key: "{"ab" * 32}"}}\n')
    return tmp_path


def test_show_prints_each_value_with_its_origin_and_no_secret(folder: Path) -> None:
    """A value of a file, of a variable, a default, and a secret as stars."""
    done = run("show", folder=folder, ASTRA_CACHE__ENTRIES="5")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line.split()[0]: line.split("  ", 1)[1].split() for line in done.stdout.splitlines()[1:]}
    assert rows["cache.ttl"] == ["7s", "#", f"{folder}/development.yaml:1"]
    assert rows["cache.entries"] == ["5", "#", "ASTRA_CACHE__ENTRIES"]
    assert rows["cache.max_age"] == ["0s", "#", "default"]
    assert rows["codes.key"] == ["***", "#", f"{folder}/.secrets.yaml:1"]
    assert "abab" not in done.stdout


def test_show_shows_what_does_not_go_together() -> None:
    """Production without its secrets, as on a desk: every value, then what is missing, and code 2."""
    done = run("show", "--environment", "production")
    assert done.returncode == 2
    assert "server.workers" in done.stdout
    assert [line.split(" (")[0] for line in done.stderr.splitlines()] == [
        "astra: settings: server.admin_token",
        "astra: settings: links.base_url",
    ]


def test_show_as_json_is_for_programs(folder: Path) -> None:
    """The same, with environment and checksum beside it."""
    shown = json.loads(run("show", "--json", folder=folder).stdout)
    assert shown["environment"] == "development"
    assert len(shown["checksum"]) == 16
    assert shown["settings"]["cache.ttl"] == {"value": "7s", "origin": f"{folder}/development.yaml:1"}
    assert shown["settings"]["codes.key"]["value"] == "***"


def test_check_names_every_problem_and_exits_with_2(tmp_path: Path) -> None:
    """Of the files named, without folder and variables; a line for each problem, with the line of the file."""
    file = tmp_path / "candidate.toml"
    file.write_text('[cache]\nttl = "soon"\nentrees = 1\n[server]\nport = 8080\n')
    done = run("check", str(file), ASTRA_CACHE__ENTRIES="not looked at")
    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith(f"astra: settings: cache.ttl ({file}:2): must be a duration")
    assert second == f"astra: settings: cache.entrees ({file}:3): unknown key; did you mean cache.entries?"
    file.write_text('[cache]\nttl = "6s"\n')
    done = run("check", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("settings are good: environment development, 1 keys set, checksum ")


def test_check_without_files_looks_at_what_would_be_served(folder: Path) -> None:
    """Folder, environment and variables."""
    assert run("check", folder=folder).returncode == 0
    done = run("check", folder=folder, ASTRA_CACHE__ENTRIES="many")
    assert done.returncode == 2
    assert "cache.entries (ASTRA_CACHE__ENTRIES)" in done.stderr
    done = run("check", "--environment", "produktion", folder=folder)
    assert done.returncode == 2
    assert "environment 'produktion'" in done.stderr


def test_diff_tells_what_two_environments_do_not_agree_on() -> None:
    """Also where one of them needs secrets that are not here; in columns, and if a change of it needs a restart."""
    done = run("diff", "development", "production")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "key             development  production  effect",
        "server.host     127.0.0.1    0.0.0.0     restart",
        "server.workers  1            2           restart",
        "log.level       debug        info        hot",
    ]
    assert run("diff", "test", "test").stdout == "test and test do not differ\n"


def test_diff_names_what_is_wrong_in_either(tmp_path: Path) -> None:
    """Both environments are looked at before it ends, and what they share is said once."""
    (tmp_path / "default.yaml").write_text("cache: {ttl: soon}\n")
    (tmp_path / "one.yaml").write_text("server: {prot: 1}\n")
    (tmp_path / "two.yaml").write_text("log:\n  levle: info\n")
    done = run("diff", "one", "two", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.split("): ")[0] + ")" for line in done.stderr.splitlines()] == [
        f"astra: settings: cache.ttl ({tmp_path}/default.yaml:1)",
        f"astra: settings: server.prot ({tmp_path}/one.yaml:1)",
        f"astra: settings: log.levle ({tmp_path}/two.yaml:2)",
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ASTRA_CLICKS__X", "1", "known here: journal, segment_size,"),
        ("ASTRA_LINKS__CODE_LENGTH", "7", "known here: base_url, allowed_hosts,"),
        ("ASTRA_LINKS__PAGE_SISE", "7", "did you mean ASTRA_LINKS__PAGE_SIZE?"),
    ],
)
def test_an_unknown_key_is_told_what_there_is(name: str, value: str, said: str) -> None:
    """What is spelled nearly so is suggested; else the keys beside it are named, never their section."""
    variables: dict[str, Any] = {name: value}
    done = run("check", **variables)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_schema_in_the_docs_is_current() -> None:
    """docs/settings.schema.json is what `settings schema` prints, and the files that come with Astra name it."""
    assert (ROOT / "docs" / "settings.schema.json").read_text(encoding="utf-8") == document() + "\n"
    assert run("schema").stdout == document() + "\n"
    for file in (ROOT / "settings").glob("[!.]*.yaml"):
        first, _, _ = file.read_text(encoding="utf-8").partition("\n")
        assert first == "# yaml-language-server: $schema=../docs/settings.schema.json"


def test_a_reader_that_leaves_is_no_error() -> None:
    """`settings show | head -1` ends quietly."""
    command = f"{sys.executable} -m app settings show | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
