"""aiobreaker's own tests, run against our class: unchanged but for imports.

aiobreaker's wheel and sdist install its tests as a package `test` beside it, so nothing has to be fetched: the files
of the installed distribution are copied to a scratch folder, the name `CircuitBreaker` is imported from us instead, and
pytest runs them in processes of their own. To run those of another version, name the folder that holds its `test_*.py`:

    ASTRA_TEST_AIOBREAKER_SUITE=…/aiobreaker/test python -m pytest tests/unit/astra_core/resilience -k aiobreaker_suite

Half of them want fakeredis, a dependency of tests only; where it is missing that half is skipped, and the reason shown.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

OURS = "from astra_core.resilience.breaker import CircuitBreaker"
ROOT = Path(__file__).parents[4]
NAMED = os.environ.get("ASTRA_TEST_AIOBREAKER_SUITE")
FAKEREDIS = importlib.util.find_spec("fakeredis") is not None and importlib.util.find_spec("redis") is not None
WITHOUT_FAKEREDIS = """\
import pytest

def FakeStrictRedis():
    pytest.skip("fakeredis is not installed")
"""


def suite() -> list[Path]:
    """The files of aiobreaker's tests; none when they cannot be found."""
    if NAMED:
        return sorted(Path(NAMED).glob("*.py"))
    files = importlib.metadata.files("aiobreaker") or []
    return [Path(str(file.locate())) for file in files if file.parts[0] == "test" and file.suffix == ".py"]


def with_our_breaker(text: str) -> str:
    """The test file `text` with `CircuitBreaker` from us, and `raises` from where pytest keeps it today."""
    text = text.replace("from _pytest.python_api import raises", "from pytest import raises")
    text = re.sub(r"^from aiobreaker import CircuitBreaker$", OURS, text, flags=re.MULTILINE)
    return re.sub(
        r"^from aiobreaker import CircuitBreaker, (.+)$",
        rf"from aiobreaker import \1; {OURS}",
        text,
        flags=re.MULTILINE,
    )


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder with the suite in it, ready to run."""
    files = suite()
    if not files:
        pytest.skip("aiobreaker's tests are not installed: name their folder in ASTRA_TEST_AIOBREAKER_SUITE")
    (tmp_path / "test").mkdir()
    for file in files:
        (tmp_path / "test" / file.name).write_text(with_our_breaker(file.read_text()))
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
    )
    if not FAKEREDIS:
        (tmp_path / "fakeredis.py").write_text(WITHOUT_FAKEREDIS)
    return tmp_path


def start(folder: Path, chosen: str) -> subprocess.Popen[str]:
    """Run the tests that `chosen` names, without plugins that they do not need."""
    # The folder comes first on the path: the standard library has a package `test` too.
    path = os.pathsep.join([str(folder), str(ROOT), *sys.path])
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "pytest_asyncio.plugin", "-k", chosen, "test"]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def passed(output: str) -> int:
    """How many tests pytest says have passed."""
    found = re.search(r"(\d+) passed", output)
    return int(found[1]) if found else 0


def test_every_import_of_the_breaker_is_replaced(scratch: Path) -> None:
    """No file of the suite that runs still takes the breaker from aiobreaker."""
    texts = {file.name: file.read_text() for file in (scratch / "test").glob("test_*.py")}
    assert len(texts) >= 5
    for name, text in texts.items():
        assert OURS in text, name
        assert not re.search(r"^from aiobreaker import CircuitBreaker\b", text, re.MULTILINE), name


def test_aiobreakers_own_tests_pass(scratch: Path) -> None:
    """All of them hold for our class, with its memory storage and, where fakeredis is, with its Redis storage."""
    runs = [start(scratch, chosen) for chosen in ("memory_storage", "not memory_storage")]
    outputs = [run.communicate(timeout=100)[0] for run in runs]  # side by side, because most of the time they sleep
    assert not any(run.returncode for run in runs), "\n".join(outputs)
    assert sum(map(passed, outputs)) >= (73 if FAKEREDIS else 50), "\n".join(outputs)
