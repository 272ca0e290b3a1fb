"""A service as `astra import --server` meets it: away for a while, away for good, or none at all."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import msgspec
import pytest

from app.cli.command import parser
from app.cli.importing import import_file
from app.cli.remote import Refused, Remote, Unreachable
from app.imports import Format, ImportState
from astra_core.testing import FakeClock
from tests.unit.app.cli.views import view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNNING = view(ImportState.RUNNING, Format.CSV, rows=2, done=1, rate=None)
DONE = view(ImportState.DONE, Format.CSV, rows=2, done=2, rate=None)
HANG_UP = 0


class Scripted(HTTPServer):
    """Answers with what `script` says, a status or an import, and with its last line from then on."""

    script: list[object]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.script = []
        self.retry_after = ""
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    """One request."""

    server: Scripted

    def do_GET(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.paths.append(self.path)
        script = self.server.script
        answer = script.pop(0) if len(script) > 1 else script[0]
        if answer == HANG_UP:
            return
        status, body = (answer, b"") if isinstance(answer, int) else (200, msgspec.json.encode(answer))
        self.send_response(status)
        if self.server.retry_after:
            self.send_header("retry-after", self.server.retry_after)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the names of the standard library

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Scripted]:
    """A service in a thread."""
    with Scripted() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def remote_at(url: str, clock: FakeClock) -> Remote:
    """A client whose time is the test's: to sleep is to move it."""
    return Remote(url, monotonic=clock.monotonic, sleep=clock.advance)


def test_a_service_that_restarts_is_waited_for(service: Scripted) -> None:
    """Whoever looks at an import asks again after a refusal, a hang-up, or what a proxy says meanwhile."""
    service.script = [503, HANG_UP, 502, 504, 429, 500, DONE]
    assert remote_at(service.url, FakeClock()).follow("0" * 23) == DONE
    assert len(service.paths) == 7


def test_a_service_is_asked_when_it_wants_to_be(service: Scripted) -> None:
    """Retry-After is honoured; without it the pauses grow, so that a minute is few requests."""
    service.script, service.retry_after, clock = [503, DONE], "17", FakeClock(monotonic=0.0)
    remote_at(service.url, clock).follow("0" * 23)
    assert clock.monotonic() == 17.0


def test_a_service_that_stays_away_is_given_up_after_a_minute(service: Scripted) -> None:
    """Not before, and not later, however it is away."""
    service.script = [503]
    for url, error in ((service.url, Refused), ("http://127.0.0.1:1", Unreachable)):
        clock = FakeClock(monotonic=0.0)
        with pytest.raises(error):
            remote_at(url, clock).follow("0" * 23)
        assert clock.monotonic() == pytest.approx(60.0)
    assert len(service.paths) < 30


def test_what_a_service_knows_better_is_not_asked_again(service: Scripted) -> None:
    """An import that is not there any more will not come back."""
    service.script = [404]
    with pytest.raises(Refused):
        remote_at(service.url, FakeClock()).follow("0" * 23)
    assert len(service.paths) == 1


def test_whoever_stops_looking_says_how_to_go_on(
    service: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once there is an import, its id is said and the command that sees it, with one line."""
    (tmp_path / "a.csv").write_text("url\nhttps://a.example/\n")
    service.script = [RUNNING, 404]
    assert import_file(parser().parse_args(["import", str(tmp_path / "a.csv"), "--server", f"{service.url}/"])) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"import {RUNNING.id} is there, see it with --resume {RUNNING.id} --server {service.url}" in last


@pytest.mark.parametrize(
    "url",
    [
        "example.com",
        "ftp://a.example",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:abc",
        "http://[::1",
        "http://a b",
        "http://a\nb",
        "http://.",
        "http://a..b",
        f"http://{'a' * 70}.example",
        "http://a.example/?",
        "http://a.example?x=1",
        "http://a.example/#f",
        "http://me:hunter2@a.example",
        "http://a.example/\u00e9",
    ],
)
def test_what_is_no_url_of_a_service_is_refused(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line and exit code 2, and no part of the URL is dropped without a word."""
    (tmp_path / "a.csv").write_text("url\n")
    assert import_file(parser().parse_args(["import", str(tmp_path / "a.csv"), "--server", url])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "name it as http://host:port or https://host" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "url", ["http://[::1]:8080", "https://a.example/s/", "http://b\u00fccher.example", "http://a_b"]
)
def test_urls_that_name_a_service(url: str) -> None:
    """Addresses, names and a path before the API's own."""
    assert Remote(url).url == url.rstrip("/")
