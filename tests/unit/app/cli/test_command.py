"""The command line: what it refuses, and how flags become settings."""

from __future__ import annotations

import shutil
import socket
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from app.cli.child import HYPERCORN, hypercorn_config
from app.cli.command import parser
from app.cli.listener import ListenError, listen
from app.cli.serve import Plan, child_command, decide, overrides, ready_line, without_credentials
from app.settings import Server, Settings
from astra_core import __version__
from astra_core.errors import ConfigError

ROOT = Path(__file__).parents[4]
PLAN = Plan(protocol="http1", host="127.0.0.1", port=0, workers=1, drain=4.0, store="sqlite:./data/astra.db")


def certificate_in(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that it signed itself, and its key, both new."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there to make a certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def test_flags_become_the_variables_of_the_same_settings() -> None:
    """A flag is handed on as the environment variable of its setting; a flag not given leaves the setting alone."""
    options = parser().parse_args(["serve", "--http2", "--workers", "2", "--port", "0"])
    assert overrides(options) == {
        "ASTRA_SERVER__PROTOCOL": "http2",
        "ASTRA_SERVER__WORKERS": "2",
        "ASTRA_SERVER__PORT": "0",
    }
    assert overrides(parser().parse_args(["serve"])) == {}


def test_the_command_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the package that is installed."""
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(["--version"])
    assert (caught.value.code, capsys.readouterr().out) == (0, f"astra {__version__}\n")


def test_the_help_of_a_worker_speaks_of_what_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    """It listens on no address and has no options."""
    with pytest.raises(SystemExit):
        parser().parse_args(["worker", "--help"])
    text = capsys.readouterr().out
    assert "exit codes:" in text
    assert "address" not in text
    assert "options given" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["serve", "--http1", "--http2"],
        ["serve", "--workers", "0"],
        ["serve", "--workers", "two"],
        ["serve", "--port", "65536"],
        ["serve", "--port", "-1"],
        ["serve", "--port", "٣"],
    ],
)
def test_a_command_line_that_cannot_be_used_exits_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong command line exits with code 2 and names the fault."""
    with pytest.raises(SystemExit) as raised:
        parser().parse_args(arguments)
    assert raised.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_taken_port_is_one_clear_line() -> None:
    """A port that somebody listens on is named in the error, with the reason."""
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ListenError, match=rf"^cannot listen on 127\.0\.0\.1:{port}: address already in use$"):
            listen("127.0.0.1", port)


def test_an_unknown_host_is_one_clear_line() -> None:
    """A host that has no address is named in the error."""
    with pytest.raises(ListenError, match=r"^cannot listen on nowhere\.invalid:80: unknown host$"):
        listen("nowhere.invalid", 80)


def test_the_listener_is_inherited_and_listens() -> None:
    """The socket accepts connections at once and survives an exec."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname(), timeout=5):
        assert listener.get_inheritable()
        assert stat.S_ISSOCK(__import__("os").fstat(listener.fileno()).st_mode)


def test_the_ready_line_says_where_and_what() -> None:
    """The line names the real port, the protocol, the workers and the store, by its whole path."""
    store = Path.cwd() / "data" / "astra.db"
    assert ready_line(PLAN, 8080) == f"serving http://127.0.0.1:8080 (http/1.1, 1 worker, store sqlite:{store})"


def test_the_ready_line_with_tls_on_ipv6() -> None:
    """IPv6 stands in brackets, TLS is https, several workers are counted."""
    plan = Plan(protocol="http2", host="::1", port=0, workers=2, drain=4.0, store="memory:", tls=True)
    assert ready_line(plan, 443) == "serving https://[::1]:443 (http/2, 2 workers, store memory:)"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:./data/a@b.db", "sqlite:./data/a@b.db"),
        ("mongodb://user:pass@db:27017/astra", "mongodb://db:27017/astra"),
        ("mongodb://u:p@ss@db/astra?tls=true", "mongodb://db/astra?tls=true"),
    ],
)
def test_the_store_is_shown_without_credentials(url: str, shown: str) -> None:
    """A password in the store's URL is never printed."""
    assert without_credentials(url) == shown


def test_what_the_settings_say_of_the_listener_reaches_the_workers() -> None:
    """Places in the queue of the system, the life of an idle connection, the time that a start may take."""
    server = Server(backlog=7, keep_alive=75.0, start_timeout=9.0, drain_timeout=3.0)
    plan = decide(Settings(server=server), {})
    assert plan.start_timeout == 9.0
    command = child_command(plan, 5)
    given = dict(zip(command[3::2], command[4::2], strict=True))
    assert {name: given[name] for name in ("--listen", "--drain", "--backlog", "--keep-alive")} == {
        "--listen": "5",
        "--drain": "3.0",
        "--backlog": "7",
        "--keep-alive": "75.0",
    }


def test_hypercorn_file_decides_tls(tmp_path: Path) -> None:
    """Under HTTP/2 the settings folder's hypercorn.toml is used, and a certificate in it means https."""
    file = tmp_path / "hypercorn.toml"
    settings = Settings(server=Server(protocol="http2"))
    environ = {"ASTRA_SETTINGS": str(tmp_path)}
    assert decide(settings, environ).hypercorn is None
    file.write_text("read_timeout = 7\n")
    plan = decide(settings, environ)
    assert (plan.hypercorn, plan.tls) == (file, False)
    certificate, key = certificate_in(tmp_path)
    file.write_text(f'certfile = "{certificate}"\nkeyfile = "{key}"\n')
    plan = decide(settings, environ)
    assert (plan.hypercorn, plan.tls) == (file, True)
    assert decide(Settings(), environ).hypercorn is None


def test_without_hypercorns_file_its_own_defaults_do_not_hold(tmp_path: Path) -> None:
    """An installed package serves HTTP/2 as a checkout does; a file wins key by key."""
    checkout = tomllib.loads((ROOT / "settings" / "hypercorn.toml").read_text())
    of_serve = {"graceful_timeout", "include_server_header"}
    assert {key: value for key, value in checkout.items() if key not in of_serve} == HYPERCORN
    assert hypercorn_config(None).read_timeout == 60
    file = tmp_path / "hypercorn.toml"
    file.write_text("read_timeout = 7\n")
    config = hypercorn_config(str(file))
    assert (config.read_timeout, config.keep_alive_max_requests) == (7, 100_000)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("keep_alive_max_request = 5", "keep_alive_max_request: unknown option; did you mean keep_alive_max_requests?"),
        ("nonsense = 5", "nonsense: unknown option"),
        ('read_timeout = "x"', "read_timeout: must be a number of 0 or more, not 'x'"),
        ("keep_alive_timeout = -1", "keep_alive_timeout: must be a number of 0 or more, not -1"),
        ("max_app_queue_size = true", "max_app_queue_size: must be a number of 0 or more, not True"),
        ("include_date_header = 1", "include_date_header: must be true or false, not 1"),
        ("ciphers = 1", "ciphers: must be a text, not 1"),
        ('certfile = "a"', "certfile: TLS needs certfile and keyfile; name both, or neither to serve without it"),
        ('keyfile = "a"', "keyfile: TLS needs certfile and keyfile; name both, or neither to serve without it"),
        ('certfile = "/nope/a"\nkeyfile = "/nope/b"', "/nope/a: cannot be read: No such file or directory"),
        ('certfile = "FILE"\nkeyfile = "FILE"', "certfile and keyfile: are no certificate in PEM with its key"),
    ],
)
def test_what_hypercorn_would_ignore_or_die_of_is_a_settings_problem(tmp_path: Path, text: str, problem: str) -> None:
    """One line names the file, the option and the remedy; no worker is started to find it out."""
    file = tmp_path / "hypercorn.toml"
    file.write_text(text.replace("FILE", str(file)))
    with pytest.raises(ConfigError) as caught:
        decide(Settings(server=Server(protocol="http2")), {"ASTRA_SETTINGS": str(tmp_path)})
    (line,) = caught.value.problems
    assert line.startswith(f"{file}: {problem}")


def test_a_broken_hypercorn_file_is_a_settings_problem(tmp_path: Path) -> None:
    """A TOML file that cannot be read is one problem that names the file."""
    (tmp_path / "hypercorn.toml").write_text("certfile = \n")
    with pytest.raises(ConfigError, match=r"hypercorn\.toml: "):
        decide(Settings(server=Server(protocol="http2")), {"ASTRA_SETTINGS": str(tmp_path)})
