"""Running wrk and reading its result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.wrk import MISSING, WrkError, WrkResult

OUTPUT = """Running 1s test @ http://127.0.0.1:8080/abc
  2 requests in 1.00s, 1.00KB read
ASTRA-WRK {"requests":10,"duration":2000000,"refused":1,"broken":2,"p50":1000,"p99":2000,"longest":3000}
"""
ROOT = Path(__file__).resolve().parents[3]


def test_the_result_is_the_line_of_the_script() -> None:
    """Counts are exact, and times are turned from microseconds into seconds."""
    found = WrkResult.parse(OUTPUT)
    assert found == WrkResult(10, 2.0, 1, 2, 0.001, 0.002, 0.003)
    assert found.rate == 5.0


@pytest.mark.parametrize(("refused", "broken", "clean"), [(0, 0, True), (1, 0, False), (0, 1, False)])
def test_any_refusal_or_broken_connection_is_unclean(refused: int, broken: int, clean: bool) -> None:
    """A rate that holds refusals is no rate."""
    assert WrkResult(10, 1.0, refused, broken, 0.0, 0.0, 0.0).clean is clean


def test_output_without_a_result_is_an_error() -> None:
    """A wrk that ended early must not pass for a run of zero requests."""
    with pytest.raises(WrkError, match="no result"):
        WrkResult.parse("unable to connect to 127.0.0.1:1 Connection refused")


@pytest.mark.parametrize("test", ["redirects", "creates"])
def test_without_wrk_one_line_says_so(test: str, tmp_path: Path) -> None:
    """A machine without wrk gets a clear line and an exit code of its own, before any server is started."""
    command = [sys.executable, "-m", f"loadtests.{test}"]
    environ = {**os.environ, "PATH": str(tmp_path)}
    found = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == MISSING
    assert found.stderr.startswith("wrk is not installed")
    assert found.stderr.count("\n") == 1
    assert found.stdout == ""
