"""The W3C's own conformance suite for Trace Context, against our middleware over a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.conftest import free_port

ROOT = Path(__file__).parents[3]
SUITE = os.environ.get("ASTRA_TEST_W3C_TRACE_CONTEXT", "")
PYTHON = os.environ.get("ASTRA_TEST_W3C_PYTHON", sys.executable)
"""The suite needs aiohttp, which we do not."""


TESTS = {"1": 40, "2": 41}
"""Tests of the suite that are not skipped, by the level of the recommendation."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not SUITE, reason="ASTRA_TEST_W3C_TRACE_CONTEXT names no folder with test.py of w3c/trace-context")
@pytest.mark.parametrize("level", TESTS)
def test_the_suite_passes_at_its_strictest(level: str) -> None:
    """Level 1 and level 2 of the recommendation, strictness 2: no test fails, and none is left out."""
    port, harness = free_port(), free_port()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    target = "tests.integration.telemetry.calling:app"
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning", target]
    with subprocess.Popen(command, cwd=ROOT, env=environ) as server:
        try:
            _wait_for(port)
            done = subprocess.run(
                [PYTHON, "test.py"],
                cwd=SUITE,
                env={
                    **os.environ,
                    "HARNESS_PORT": str(harness),
                    "SERVICE_ENDPOINT": f"http://127.0.0.1:{port}/test",
                    "STRICT_LEVEL": "2",
                    "SPEC_LEVEL": level,
                },
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
        finally:
            server.terminate()
    found = re.search(r"Ran (\d+) tests", done.stderr)
    skipped = re.search(r"skipped=(\d+)", done.stderr)
    assert found is not None, done.stderr[-2_000:]
    assert int(found[1]) - (int(skipped[1]) if skipped else 0) == TESTS[level]
    assert done.returncode == 0, done.stderr[-2_000:]


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server did not start")
