"""The shortener's own settings, the files that come with them and the page about them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from hypercorn.config import Config

from app.settings import ENVIRONMENTS, Settings, load_settings
from astra_core.config import describe, markdown
from astra_core.errors import ConfigError

ROOT = Path(__file__).parents[3]
TOKEN = {"ASTRA_SERVER__ADMIN_TOKEN": "0123456789abcdef"}
BASE_URL = {**TOKEN, "ASTRA_LINKS__BASE_URL": "https://exa.mp/"}


def problem(environ: dict[str, str], environment: str = "test") -> str:
    """Return the one thing that is wrong with `environ`."""
    with pytest.raises(ConfigError) as caught:
        load_settings(environ, folder=ROOT / "settings", environment=environment)
    [line] = caught.value.problems
    return line


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_environment_that_comes_with_astra_loads(environment: str) -> None:
    """Every file is valid; only production needs a variable."""
    loaded = load_settings(BASE_URL, folder=ROOT / "settings", environment=environment)
    assert loaded.environment == environment
    assert loaded.settings.links.base_url == "https://exa.mp/"


def test_every_environment_has_its_file_and_none_is_forgotten() -> None:
    """The names that work without a folder are the files in it."""
    stems = {path.stem for path in (ROOT / "settings").glob("[!.]*.yaml")} - {"default"}
    assert stems == set(ENVIRONMENTS)


def test_the_default_file_shows_every_key_with_its_default(tmp_path: Path) -> None:
    """With its keys uncommented, default.yaml holds each key once and changes nothing."""
    text = (ROOT / "settings" / "default.yaml").read_text(encoding="utf-8")
    (tmp_path / "default.yaml").write_text(re.sub(r"^  # ", "  ", text, flags=re.MULTILINE), encoding="utf-8")
    loaded = load_settings({}, folder=tmp_path)
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {str(tmp_path / "default.yaml")}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"HTTP__DEADLINE": "4s"}, "http.deadline (ASTRA_HTTP__DEADLINE): must be below server.drain_timeout"),
        (
            {"SERVER__BODY_TIMEOUT": "3500ms"},
            "server.body_timeout (ASTRA_SERVER__BODY_TIMEOUT): must be below http.dead",
        ),
        (
            {"STORE__WRITE_DEADLINE": "9s"},
            "store.write_deadline (ASTRA_STORE__WRITE_DEADLINE): must be below http.dead",
        ),
        (
            {"SERVER__DRAIN_TIMEOUT": "9100ms"},
            "server.drain_timeout (ASTRA_SERVER__DRAIN_TIMEOUT): must be a second below server.grace_period",
        ),
        ({"SERVER__GRACE_PERIOD": "4500ms"}, "server.grace_period is 4500ms (ASTRA_SERVER__GRACE_PERIOD)"),
        ({"STORE__READS__RETRY__TRY_TIMEOUT": "1s"}, "must be below store.read_deadline"),
        ({"STORE__WRITES__RETRY__TRY_TIMEOUT": "2s"}, "must be below store.write_deadline"),
        ({"HTTP__RETRY__TRY_TIMEOUT": "3500ms"}, "must be below http.deadline"),
        (
            {"COORDINATION__TTL": "3s"},
            "coordination.deadline (default): must be below a third of coordination.ttl, how often it is",
        ),
        ({"COORDINATION__CALLS__RETRY__TRY_TIMEOUT": "1s"}, "must be below coordination.deadline"),
        ({"MESSAGING__CALLS__RETRY__TRY_TIMEOUT": "5s"}, "must be below messaging.deadline"),
        (
            {"COORDINATION__CALLS__BREAKER__OPEN_CAP": "100ms"},
            "coordination.calls.breaker.open_cap (ASTRA_COORDINATION__CALLS__BREAKER__OPEN_CAP)",
        ),
        ({"HTTP__DEADLINE_FLOOR": "3600ms"}, "http.deadline_floor (ASTRA_HTTP__DEADLINE_FLOOR): must not be above"),
        ({"HTTP__TRUSTED_PROXIES": '["10.0.0.1/8"]'}, "'10.0.0.1/8' is neither an address nor a network"),
        (
            {"STORE__READS__BREAKER__OPEN_CAP": "1s"},
            "store.reads.breaker.open_cap (ASTRA_STORE__READS__BREAKER__OPEN_CAP)",
        ),
        ({"STORE__WRITES__BREAKER__SLOW_RATE": "0"}, "store.writes.breaker.slow_rate"),
        ({"HTTP__RETRY__CAP": "10ms"}, "http.retry.cap (ASTRA_HTTP__RETRY__CAP): must not be below base"),
    ],
)
def test_times_stand_inside_each_other(variables: dict[str, str], said: str) -> None:
    """What stands inside ends before what stands round it, and each fault names its key and the remedy."""
    assert said in problem({f"ASTRA_{name}": value for name, value in variables.items()}, "test")


def test_what_the_test_suite_is_told_is_no_setting() -> None:
    """Whoever has the addresses of test engines in the environment can still start the service."""
    environ = {"ASTRA_TEST_REDIS_URL": "redis://127.0.0.1:6379", "ASTRA_TEST_FULL": "1"}
    assert load_settings(environ, folder=ROOT / "settings", environment="test")


def test_production_without_a_base_url_is_refused() -> None:
    """The one line names the variable to set."""
    assert problem(TOKEN, "production") == (
        "links.base_url (default): production needs it; set ASTRA_LINKS__BASE_URL=https://your.domain"
    )


def test_production_shows_strangers_no_figures() -> None:
    """Without a token for /metrics it does not start, and the line says how to make one."""
    said = problem({"ASTRA_LINKS__BASE_URL": "https://exa.mp/"}, "production")
    assert said.startswith("server.admin_token (default): production needs it; set ASTRA_SERVER__ADMIN_TOKEN")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SERVER__ADMIN_TOKEN", "short", "must be 16 or more of"),
        ("SERVER__ADMIN_TOKEN", "with spaces in between", "must be 16 or more of"),
        ("TRACING__ENDPOINT", "localhost:4318", "such as http://localhost:4318"),
        ("TRACING__ENDPOINT", "http://me:hunter2@otel:4318", "no credentials, query or fragment"),
        ("TRACING__HEADERS", "hunter2", "must be name=value"),
        ("STORE__URL", "mongodb://me:hunter2@db/astra", "not built yet"),
        ("STORE__URL", "sqlite:", "needs the path"),
        ("STORE__URL", "sqlite:///data/astra.db", "without slashes for a host"),
        ("STORE__URL", "sqlite::memory:", "write memory:"),
        ("STORE__URL", "sqlite:data/", "needs the path"),
        ("STORE__URL", "memory:x", "nothing after it"),
        ("STORE__URL", "memory", "must be sqlite:PATH or memory:"),
        ("STORE__URL", "postgres://me:hunter2@db/astra", "must be sqlite:PATH or memory:"),
        ("LINKS__BASE_URL", "exa.mp", "must be an http or https URL"),
        ("LINKS__BASE_URL", "ftp://exa.mp", "must be an http or https URL"),
        ("LINKS__BASE_URL", "https://", "must be an http or https URL"),
        ("LINKS__BASE_URL", "https://exämple.de", "punycode"),
        ("LINKS__BASE_URL", "https://exa.mp/a b", "must be an http or https URL"),
        ("LINKS__BASE_URL", "https://exa.mp/?", "no query"),
        ("LINKS__BASE_URL", "https://exa.mp#", "no query, fragment"),
        ("LINKS__BASE_URL", "https://me:hunter2@exa.mp", "credentials"),
        ("LINKS__BASE_URL", "https://exa.mp:99999", "is not a URL"),
        ("LINKS__BASE_URL", "https://[::1", "is not a URL"),
        ("LINKS__ALLOWED_HOSTS", "exa.mp:8080", "bare host"),
        ("LINKS__ALLOWED_HOSTS", "https://exa.mp", "bare host"),
        ("LINKS__ALLOWED_HOSTS", "", "must be a list of at least one entry, not ''"),
        ("STORE__READS__BREAKER__FAILURERATE", "1", "did you mean ASTRA_STORE__READS__BREAKER__FAILURE_RATE?"),
        ("LINKS__PAGE_SIZE", "201", "must not be above links.max_page_size"),
        ("LINKS__REDIRECT_STATUS", "303", "one of 301, 302, 307, 308"),
        ("CODES__KEY", "hunter2", "must be 64 hex digits"),
        ("CODES__REGION", "64", "from 0 to 63"),
        ("CLICKS__QUOTA", "300KiB", "at least twice clicks.segment_size"),
        ("SERVER__MAX_BATCH_BODY", "1KiB", "must not be below server.max_body"),
        ("SERVER__WORKERS", "2", "memory: is not shared"),
        ("SERVER__WORKERS", "0", "from 1 to 256"),
        ("SERVER__PROTOCOL", "h2", "one of http1, http2"),
    ],
)
def test_what_cannot_work_is_refused_without_showing_what_may_be_secret(variable: str, value: str, said: str) -> None:
    """Each value is refused with its remedy, and no password or key is in the line."""
    line = problem({f"ASTRA_{variable}": value})
    assert said in line
    assert "hunter2" not in line


@pytest.mark.parametrize("engine", ["coordination", "messaging"])
def test_memory_serves_one_worker(engine: str) -> None:
    """Two workers would each be the leader, or hear of its own messages only."""
    environ = {f"ASTRA_{engine.upper()}__URL": "memory:", "ASTRA_STORE__URL": "sqlite:a.db"}
    assert load_settings(environ).settings.server.workers == 1
    assert f"{engine}.url" in (line := problem({**environ, "ASTRA_SERVER__WORKERS": "2"}))
    assert "memory: is not shared" in line


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LINKS__BASE_URL", "http://127.0.0.1:8080"),
        ("LINKS__BASE_URL", "https://exa.mp/s/"),
        ("LINKS__BASE_URL", "https://[::1]:8443"),
        ("CODES__KEY", "0123456789abcdefABCDEF" + "0" * 42),
        ("LINKS__ALLOWED_HOSTS", "exa.mp,[::1]"),
        ("STORE__URL", "sqlite:/var/lib/astra.db"),
        ("STORE__URL", "sqlite:data/@odd name.db"),
        ("LINKS__REDIRECT_STATUS", "307"),
        ("SERVER__PORT", "0"),
    ],
)
def test_what_works_is_taken(variable: str, value: str) -> None:
    """The rules refuse no value that an operator would rightly give."""
    load_settings({f"ASTRA_{variable}": value}, folder=ROOT / "settings", environment="test")


def test_the_store_says_which_engine() -> None:
    """It is the scheme of its URL."""
    environ = {"ASTRA_STORE__URL": "sqlite:./a/b.db"}
    assert load_settings(environ, folder=ROOT / "settings", environment="test").settings.store.engine == "sqlite"
    assert load_settings({}, folder=ROOT / "settings", environment="test").settings.store.engine == "memory"


def test_every_key_is_described() -> None:
    """No key is without its sentence."""
    assert [row.key for row in describe(Settings) if not row.doc.endswith((".", "`"))] == []


def test_the_page_about_settings_is_current() -> None:
    """docs/settings.md is what `python -m astra_core.config app.settings:Settings` prints."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == markdown(Settings, source="app.settings:Settings")


def test_hypercorn_takes_its_file_and_outlives_the_drain() -> None:
    """Every line is an option of hypercorn, and its own limit comes after Astra has cancelled what is unfinished."""
    file = ROOT / "settings" / "hypercorn.toml"
    assert [key for key in tomllib.loads(file.read_text(encoding="utf-8")) if not hasattr(Config, key)] == []
    config = Config.from_toml(file)
    assert config.graceful_timeout > Settings().server.drain_timeout
    assert config.keep_alive_max_requests > 1000
    assert config.read_timeout is not None


def test_defaults_serve_alone_where_there_is_no_folder(tmp_path: Path) -> None:
    """An installed package runs in any working directory; there too an environment must be a known one."""
    code = "import os; from app.settings import *; print(load_settings(os.environ).settings == Settings())"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr
    environ["ASTRA_ENV"] = "prodution"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert "did you mean production?" in done.stderr


def test_loading_is_quick(capsys: pytest.CaptureFixture[str]) -> None:
    """Print what a load costs once dynaconf is imported; no figure is asserted."""
    began = time.perf_counter()
    for _ in range(20):
        load_settings({}, folder=ROOT / "settings")
    with capsys.disabled():
        sys.stdout.write(f"\n  settings: {(time.perf_counter() - began) / 20 * 1000:.1f} ms a load\n")
