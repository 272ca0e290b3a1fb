"""`astra serve` with the shortener: its exit codes, its lines, and what dies when."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import h2.connection
import h2.events
import pytest

from tests.unit.app.cli.test_command import certificate_in

if TYPE_CHECKING:
    from tests.e2e.conftest import Launcher, Process

SERVERS = ["serve --http1", "serve --http2", "uvicorn", "hypercorn -w 0"]
PARENTS = ["serve --workers 2", "serve --http2 --workers 2", "uvicorn --workers 2", "hypercorn -w 1", "hypercorn -w 2"]
FAILURES = ["uvicorn", "uvicorn --workers 2", "hypercorn -w 0", "hypercorn -w 1", "hypercorn -w 2"]


def begin(launch: Launcher, server: str, *, env: dict[str, str] | None = None) -> Process:
    """Start `serve …` or a bare server's command."""
    name, *options = server.split()
    return launch.serve(*options, env=env) if name == "serve" else launch.bare(server, env=env)


def create(process: Process, url: str) -> str:
    """Create a link and return its code."""
    connection = process.connection()
    connection.request("POST", "/v1/links", json.dumps({"url": url}), {"content-type": "application/json"})
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    assert response.status == 201, body
    code: str = body["code"]
    return code


def follow(process: Process, code: str) -> str | None:
    """Where a code redirects to."""
    connection = process.connection()
    connection.request("GET", f"/{code}")
    location = connection.getresponse().getheader("location")
    connection.close()
    return location


def lines(process: Process) -> list[str]:
    """What it complained of, line by line; a traceback anywhere is a failure, and news is no complaint."""
    assert "Traceback" not in process.stderr
    return [line for line in process.stderr.splitlines() if '"level":"info"' not in line]


@pytest.mark.parametrize("server", [*SERVERS, *PARENTS])
def test_a_link_is_created_and_followed(launch: Launcher, server: str) -> None:
    """A created link redirects, and SIGTERM then ends the service and frees the port."""
    process = begin(launch, server).ready()
    assert follow(process, create(process, "https://example.com/a?b=c")) == "https://example.com/a?b=c"
    process.signal(signal.SIGTERM)
    code = process.code()
    assert not process.listening()
    if server.startswith("serve"):
        assert code == 0
        assert lines(process) == []


@pytest.mark.parametrize("protocol", ["--http1", "--http2"])
def test_serve_says_where_it_serves_and_ends_with_0_after_sigint(launch: Launcher, protocol: str) -> None:
    """One line on stdout names address, protocol, workers and store; SIGINT ends with code 0."""
    process = launch.serve(protocol, "--workers", "2").ready()
    name = {"--http1": "http/1.1", "--http2": "http/2"}[protocol]
    store = f"store sqlite:{process.folder.resolve() / 'data' / 'astra.db'}"
    assert process.stdout == f"astra: serving http://127.0.0.1:{process.port} ({name}, 2 workers, {store})\n"
    os.killpg(process.popen.pid, signal.SIGINT)  # as a terminal's Ctrl-C: to all of them at once
    assert process.code() == 0
    assert lines(process) == []


def test_a_new_store_is_told_and_libraries_keep_their_debug_lines(launch: Launcher, tmp_path: Path) -> None:
    """The first start says in one line where it made the file, the next one nothing; debug is for our own lines."""
    file = tmp_path / "astra.db"
    told = []
    for _ in range(2):
        process = launch.serve(env={"ASTRA_STORE__URL": f"sqlite:{file}", "ASTRA_LOG__LEVEL": "debug"}).ready()
        process.signal(signal.SIGTERM)
        assert process.code() == 0
        told.append([json.loads(line)["message"] for line in process.stderr.splitlines()])
    assert [sum("new store" in message for message in messages) for messages in told] == [1, 0]
    assert f"made a new store at {file}" in told[0]
    assert not any("selector" in message for messages in told for message in messages)


def test_a_request_that_is_refused_early_does_not_end_its_connection(launch: Launcher) -> None:
    """HTTP/2: what still comes of its body is let pass, and other requests of the connection are answered."""
    process = launch.serve("--http2").ready()
    client = h2.connection.H2Connection()
    client.initiate_connection()
    statuses: dict[int, bytes] = {}
    with socket.create_connection(("127.0.0.1", process.port or 0), timeout=30) as stream:

        def until(number: int) -> None:
            stream.sendall(client.data_to_send())
            while number not in statuses:
                received = stream.recv(65_536)
                assert received, "the connection ended"
                for event in client.receive_data(received):
                    if isinstance(event, h2.events.ResponseReceived):
                        assert event.stream_id is not None
                        statuses[event.stream_id] = dict(event.headers)[b":status"]
                stream.sendall(client.data_to_send())

        pseudo = [(":authority", "localhost"), (":scheme", "http")]
        upload = [(":method", "POST"), (":path", "/v1/links"), *pseudo, ("content-type", "text/plain")]
        client.send_headers(1, upload)
        until(1)
        for number in (3, 5):
            stream.sendall(_data_frame(1, 10_000))  # the answer has ended the stream on our side of the protocol too
            client.send_headers(number, [(":method", "GET"), (":path", "/healthz"), *pseudo], end_stream=True)
            until(number)
    assert statuses == {1: b"415", 3: b"200", 5: b"200"}
    process.signal(signal.SIGTERM)
    assert process.code() == 0
    assert lines(process) == []


def _data_frame(stream: int, size: int) -> bytes:
    """Part of a body (RFC 9113, 6.1)."""
    return size.to_bytes(3, "big") + bytes([0, 0]) + stream.to_bytes(4, "big") + bytes(size)


def test_tls_is_served_where_a_certificate_is_named(launch: Launcher, tmp_path: Path) -> None:
    """HTTP/2 is chosen by ALPN, HTTP/1.1 where a client wants that; short URLs begin with https."""
    certificate, key = certificate_in(tmp_path)
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "development.yaml").touch()
    (folder / "hypercorn.toml").write_text(f'certfile = "{certificate}"\nkeyfile = "{key}"\n')
    process = launch.serve("--http2", env={"ASTRA_SETTINGS": str(folder)})
    process.until("ready", lambda: "serving https://" in process.stdout)
    port = int(process.stdout.split()[2].rpartition(":")[2])
    context = ssl.create_default_context(cafile=certificate)
    for wanted in (["h2", "http/1.1"], ["http/1.1"]):
        context.set_alpn_protocols(wanted)
        plain = socket.create_connection(("localhost", port), timeout=30)
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            assert secured.selected_alpn_protocol() == wanted[0]
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
    headers = {"content-type": "application/json"}
    connection.request("POST", "/v1/links", '{"url": "https://example.com/"}', headers)
    link = json.loads(connection.getresponse().read())
    connection.close()
    assert link["short_url"].startswith(f"https://localhost:{port}/")
    process.signal(signal.SIGTERM)
    assert process.code() == 0


def test_an_upgrade_is_no_news(launch: Launcher) -> None:
    """Whoever asks for a websocket is answered like anybody else, and leaves no line with advice that is not meant."""
    process = launch.serve("--http1").ready()
    connection = process.connection()
    connection.request("GET", "/nothing", headers={"connection": "upgrade", "upgrade": "websocket"})
    assert connection.getresponse().status == 404
    connection.close()
    process.signal(signal.SIGTERM)
    assert process.code() == 0
    assert lines(process) == []


def test_serve_ends_with_2_for_each_problem_of_the_settings(launch: Launcher) -> None:
    """Settings that cannot be used are one line each, all at once, with code 2."""
    wrong = {"ASTRA_SERVER__PROT": "1", "ASTRA_STORE__READERS": "none"}
    process = launch.serve(env=wrong)
    assert process.code() == 2
    assert len(lines(process)) == 2
    assert all(line.startswith("astra: settings: ") for line in lines(process))


def test_serve_ends_with_1_for_a_store_that_cannot_be_opened(launch: Launcher, tmp_path: Path) -> None:
    """A store that cannot be opened is one line that names it, with code 1."""
    file = tmp_path / "not-a-database"
    file.write_text("this is a text and no database, however long one reads in it " * 100)
    process = launch.serve(env={"ASTRA_STORE__URL": f"sqlite:{file}"})
    assert process.code() == 1
    assert len(lines(process)) == 1
    assert str(file) in process.stderr


def test_serve_ends_with_1_for_a_port_that_is_taken(launch: Launcher) -> None:
    """A port that somebody listens on is one line that names it, with code 1."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = launch.serve("--port", str(port))
        assert process.code() == 1
    assert lines(process) == [f"astra: cannot listen on 127.0.0.1:{port}: address already in use"]


def test_serve_ends_with_1_when_its_workers_cannot_start(launch: Launcher, tmp_path: Path) -> None:
    """What only a worker can find out is one line too, with code 1."""
    blocked = tmp_path / "file"
    blocked.touch()
    process = launch.serve("--workers", "2", env={"ASTRA_CLICKS__JOURNAL": str(blocked / "journal")})
    assert process.code() == 1
    assert len(lines(process)) == 1
    assert lines(process)[0].startswith("astra: ")


@pytest.mark.parametrize("server", FAILURES)
def test_a_bare_server_with_wrong_settings_says_so_and_ends(launch: Launcher, server: str) -> None:
    """Under a server's own command wrong settings are a clear line, and no half-started worker stays."""
    process = begin(launch, server, env={"ASTRA_STORE__READERS": "none"})
    process.code()
    process.until("free", lambda: not process.listening(), running=False)
    assert any("store.readers" in line for line in lines(process))


@pytest.mark.parametrize("server", PARENTS)
def test_workers_whose_parent_was_killed_free_the_port(launch: Launcher, server: str) -> None:
    """`kill -9` of the parent ends its workers, and the port is free."""
    process = begin(launch, server).ready()
    process.signal(signal.SIGKILL)
    process.code()
    process.until("free", lambda: not process.listening(), running=False)


@pytest.mark.parametrize("protocol", ["--http1", "--http2"])
def test_a_killed_worker_is_replaced_while_the_other_serves(launch: Launcher, protocol: str) -> None:
    """With one of two workers killed every new request is answered, and a second worker is there again."""
    process = launch.serve(protocol, "--workers", "2").ready()
    code = create(process, "https://example.com/")
    process.until("two workers", lambda: len(process.workers()) == 2)
    before = process.workers()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    process.until("gone", lambda: not Path(f"/proc/{victim}").exists())
    for _ in range(20):
        assert follow(process, code) == "https://example.com/"
    process.until("replaced", lambda: len(process.workers()) == 2)
    assert len(process.workers() & before) == 1
    assert f"astra: worker {victim} was killed by SIGKILL; starting another in 0.1 s" in lines(process)


@pytest.mark.parametrize("server", ["serve --http1", "serve --http2", "uvicorn", "hypercorn -w 0", "hypercorn -w 1"])
def test_a_request_in_flight_at_sigterm_is_answered(launch: Launcher, server: str) -> None:
    """A request whose body is still on its way when SIGTERM comes is answered, and its link is kept."""
    process = begin(launch, server).ready()
    body = json.dumps({"url": "https://example.com/late", "code": "late-one"}).encode()
    with socket.create_connection(("127.0.0.1", process.port or 0), timeout=30) as client:
        head = "POST /v1/links HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json"
        client.sendall(f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body[:10])
        follow(process, "unknown")  # answered after it: by now the first request is being handled
        threading.Timer(0.5, client.sendall, (body[10:],)).start()
        process.signal(signal.SIGTERM)
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 201")
    process.code()
    again = launch.serve(env={"ASTRA_STORE__URL": f"sqlite:{process.folder}/data/astra.db"}).ready()
    assert follow(again, "late-one") == "https://example.com/late"


def test_an_idle_connection_lives_as_long_as_the_settings_say(launch: Launcher) -> None:
    """uvicorn's own five seconds do not hold: a load balancer in front may keep its connections for longer, or less."""
    process = launch.serve(env={"ASTRA_SERVER__KEEP_ALIVE": "1s"}).ready()
    assert process.port is not None
    with socket.create_connection(("127.0.0.1", process.port), timeout=4.5) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while client.recv(4096):
            pass  # the answer, and then the end: a timeout fails
