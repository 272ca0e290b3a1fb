"""Imports by a process of their own: killed, orphaned, starved of disk, overtaken. Each row counts once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import DEADLINE, ROOT, Launcher, Process
from tests.stopped import stop_outside_of_transactions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FULL = os.environ.get("ASTRA_TEST_FULL") == "1"
PROGRAM = ROOT / "app" / "worker" / "program.py"


class Service:
    """The imports of a running server, over HTTP."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """One request over a new connection; a body that is refused before it has come has its answer all the same."""
        with contextlib.closing(self.process.connection()) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body=body, headers={"content-type": "application/x-ndjson"})
            response = connection.getresponse()
            return response.status, response.read()

    def json(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """One request that succeeds."""
        status, answer = self.call(method, path, body)
        assert status in {200, 201}, answer
        decoded: dict[str, Any] = json.loads(answer)
        return decoded

    def ends(self, key: str) -> dict[str, Any]:
        """Wait for the end of an import."""
        deadline = time.monotonic() + 4 * DEADLINE
        while (view := self.json("GET", f"/v1/imports/{key}"))["state"] not in {"done", "failed"}:
            assert time.monotonic() < deadline, (view, self.process.stderr)
            time.sleep(0.1)
        return view

    def done(self, key: str) -> int:
        """Rows that were looked at."""
        rows: int = self.json("GET", f"/v1/imports/{key}")["done"]
        return rows


def rows_of(count: int) -> bytes:
    """A file of links: every 7th names its code, every 11th is no URL, every 13th has a limit."""
    lines = []
    for n in range(count):
        link: dict[str, Any] = {"url": f"https://example.com/{n}" if n % 11 else f"ftp://example.com/{n}"}
        if not n % 7:
            link["code"] = f"row-{n}"
        if not n % 13:
            link["max_visits"] = 5
        lines.append(json.dumps(link))
    return "\n".join(lines).encode()


def check(service: Service, key: str, count: int, database: Path) -> None:
    """Each row is there once, and the report tells what is in the store."""
    view = service.ends(key)
    good = [n for n in range(count) if n % 11]
    assert (view["state"], view["rows"], view["done"]) == ("done", count, count)
    assert (view["created"], view["reused"], view["failed"]) == (len(good), 0, count - len(good))
    status, body = service.call("GET", f"/v1/imports/{key}/report")
    assert status == 200
    report = [json.loads(line) for line in body.splitlines()]
    assert [line["row"] for line in report] == list(range(1, count + 1))
    made = {line["code"]: f"https://example.com/{line['row'] - 1}" for line in report if line["status"] == 201}
    with contextlib.closing(sqlite3.connect(database)) as connection:
        links = [json.loads(value) for (value,) in connection.execute("SELECT value FROM r_links")]
        stored = {link["code"]: link["url"] for link in links}
        limits = connection.execute("SELECT count(*) FROM counters WHERE name = 'remaining' AND value = 5").fetchone()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert stored == made
    assert sorted(stored.values()) == sorted(f"https://example.com/{n}" for n in good)
    assert all(f"row-{n}" in stored for n in good if not n % 7)
    assert limits == (len([n for n in good if not n % 13]),)


def children(command: bytes) -> set[int]:
    """Processes whose command line holds `command`, of any parent."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and command in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
    return found


def workers(folder: Path) -> set[int]:
    """The workers of imports that run in `folder`."""
    found = set()
    for pid in children(b"worker/program.py"):
        with contextlib.suppress(OSError):
            ended = b"State:\tZ" in Path(f"/proc/{pid}/status").read_bytes()
            if not ended and Path(f"/proc/{pid}/cwd").resolve() == folder:
                found.add(pid)
    return found


@pytest.fixture
def loose() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Workers that a test starts by itself; none is left behind."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for each in started:
        each.kill()
        each.wait()


def start_worker(process: Process, loose: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Run a worker on a server's folder, as the server would."""
    env = process.env | {"ASTRA_IMPORTS__IDLE": "100ms"}
    worker = subprocess.Popen([sys.executable, "-P", str(PROGRAM)], cwd=process.folder, env=env)
    loose.append(worker)
    return worker


@pytest.mark.slow
def test_a_worker_killed_again_and_again_makes_each_row_once(
    launch: Launcher, loose: list[subprocess.Popen[bytes]]
) -> None:
    """kill -9 at random moments, from the start of the process on: no row is lost, doubled or reported wrongly."""
    rounds, count = (100, 60_000) if FULL else (8, 6_000)
    chance = random.Random(os.environ.get("ASTRA_TEST_SEED"))
    env = {"ASTRA_IMPORTS__WORKER": "false", "ASTRA_IMPORTS__ROWS": "40", "ASTRA_IMPORTS__PAUSE": "5ms"}
    server = launch.serve(env=env).ready()
    service = Service(server)
    key = service.json("POST", "/v1/imports", rows_of(count))["id"]
    reached, killed = [0], 0
    for number in range(rounds):
        worker = start_worker(server, loose)
        if number % 2:  # amid its slices; else wherever it is, from its start on
            server.until("further", partial(_moved, service, key, reached[-1], worker))
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(chance.uniform(0.0, 0.3 if number % 2 else 1.0))
        killed += worker.poll() is None
        worker.kill()
        worker.wait()
        reached.append(service.done(key))
    print(f"{killed} of {rounds} workers were killed; rows reached: {reached}")
    assert reached == sorted(reached)
    start_worker(server, loose).wait(4 * DEADLINE)
    check(service, key, count, server.folder / "data" / "astra.db")


def _moved(service: Service, key: str, before: int, worker: subprocess.Popen[bytes]) -> bool:
    return service.done(key) > before or worker.poll() is not None


def test_a_worker_that_was_stopped_and_replaced_cannot_write(
    launch: Launcher, loose: list[subprocess.Popen[bytes]]
) -> None:
    """SIGSTOP amid its work, another one takes the import over and SIGCONT: what the first held in hand is refused."""
    count = 6_000
    server = launch.serve(env={"ASTRA_IMPORTS__WORKER": "false", "ASTRA_IMPORTS__PAUSE": "20ms"}).ready()
    service = Service(server)
    key = service.json("POST", "/v1/imports", rows_of(count))["id"]
    first = start_worker(server, loose)
    server.until("under way", lambda: service.done(key) > 0)
    stop_outside_of_transactions(first.pid, (server.folder / "data").glob("*.db"))
    second = start_worker(server, loose)
    before = service.done(key)
    server.until("taken over", lambda: service.done(key) > before)
    first.send_signal(signal.SIGCONT)
    check(service, key, count, server.folder / "data" / "astra.db")
    assert second.wait(DEADLINE) == 0
    assert first.wait(DEADLINE) == 0


@pytest.mark.parametrize("command", ["serve", "uvicorn", "hypercorn", "hypercorn --workers 2"])
def test_every_server_starts_the_worker_and_it_dies_with_its_parent(launch: Launcher, command: str) -> None:
    """One worker, when there is something to do; kill -9 of the server ends it too, and the next server goes on."""
    count = 6_000
    env = {"ASTRA_IMPORTS__PAUSE": "50ms", "ASTRA_IMPORTS__ROWS": "100", "ASTRA_IMPORTS__IDLE": "300ms"}
    server = (launch.serve(env=env) if command == "serve" else launch.bare(command, env=env)).ready()
    service = Service(server)
    assert workers(server.folder) == set()
    key = service.json("POST", "/v1/imports", rows_of(count))["id"]
    server.until("under way", lambda: service.done(key) > 0)
    (worker,) = workers(server.folder)
    assert os.sched_getscheduler(worker) == os.SCHED_IDLE  # its first thread, which has no lock, gives way to all
    others = {int(task.name) for task in Path(f"/proc/{worker}/task").iterdir()} - {worker}
    assert os.SCHED_OTHER in {os.sched_getscheduler(task) for task in others}  # so does not the one that commits
    assert {os.getpriority(os.PRIO_PROCESS, task) for task in (worker, *others)} == {10}
    os.killpg(server.popen.pid, signal.SIGSTOP)  # the group at one moment, so that nobody starts another
    for pid in _group(server.popen.pid) - workers(server.folder):
        os.kill(pid, signal.SIGKILL)
    server.popen.wait(DEADLINE)
    for pid in workers(server.folder):
        os.kill(pid, signal.SIGCONT)
    server.until("alone", lambda: not workers(server.folder), running=False)
    again = Launcher(server.folder)
    try:
        settings = {"ASTRA_STORE__URL": f"sqlite:{server.folder}/data/astra.db"}
        settings["ASTRA_IMPORTS__FOLDER"] = f"{server.folder}/data/imports"
        check(Service(again.serve(env=settings).ready()), key, count, server.folder / "data" / "astra.db")
    finally:
        again.close()


def _group(group: int) -> set[int]:
    """The processes of a group."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == group:
                found.add(int(entry.name))
    return found


def test_of_two_servers_one_has_the_worker_and_the_other_takes_over(launch: Launcher, tmp_path: Path) -> None:
    """They share store and folder: never two workers, and an import outlives the server that carried it out."""
    count = 8_000
    env = {
        "ASTRA_STORE__URL": f"sqlite:{tmp_path}/shared/astra.db",
        "ASTRA_IMPORTS__FOLDER": f"{tmp_path}/shared/imports",
        "ASTRA_IMPORTS__PAUSE": "60ms",
        "ASTRA_IMPORTS__ROWS": "100",
    }
    servers = [launch.serve(env=env).ready() for _ in range(2)]
    service = Service(servers[1])
    key = service.json("POST", "/v1/imports", rows_of(count))["id"]
    servers[1].until("under way", lambda: service.done(key) > 0)
    (holder,) = (server for server in servers if workers(server.folder))
    other = servers[1 - servers.index(holder)]
    before = service.done(key)
    os.killpg(holder.popen.pid, signal.SIGKILL)
    holder.popen.wait(DEADLINE)
    left = Service(other)
    other.until("taken over", lambda: left.done(key) > before + 100)
    assert len(workers(other.folder)) == 1
    check(left, key, count, tmp_path / "shared" / "astra.db")


def test_a_worker_that_dies_is_started_again(launch: Launcher) -> None:
    """The server says so, and the import goes on."""
    count = 4_000
    server = launch.serve(env={"ASTRA_IMPORTS__PAUSE": "40ms", "ASTRA_IMPORTS__ROWS": "100"}).ready()
    service = Service(server)
    key = service.json("POST", "/v1/imports", rows_of(count))["id"]
    server.until("under way", lambda: service.done(key) > 0)
    (pid,) = workers(server.folder)
    os.kill(pid, signal.SIGKILL)
    check(service, key, count, server.folder / "data" / "astra.db")
    assert "was killed by SIGKILL; starting another" in server.stderr
    assert "traceback" not in server.stderr.lower()


def test_a_disk_without_room_refuses_files_and_holds_imports_up(launch: Launcher) -> None:
    """507 for a file that does not fit, and nothing of it stays; an import under way waits until there is room."""
    count = 8_000
    env = {"ASTRA_IMPORTS__PAUSE": "30ms", "ASTRA_IMPORTS__ROWS": "100", "ASTRA_IMPORTS__IDLE": "60s"}
    server = launch.serve(env=env).ready()
    service = Service(server)
    key = service.json("POST", "/v1/imports", rows_of(count))["id"]
    server.until("under way", lambda: service.done(key) > 0)
    (worker,) = workers(server.folder)
    limited = {worker, *_group(server.popen.pid)}
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in limited}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (128 * 1024, hard))
    status, body = service.call("POST", "/v1/imports", rows_of(20_000))
    assert (status, json.loads(body)["type"]) == (507, "urn:astra:problem:no-room")
    assert [path.suffix for path in (server.folder / "data" / "imports").rglob("*.*") if path.stem != "lease"] == [
        ".upload"
    ]
    server.until("held up", lambda: "an import waits" in server.stderr)
    for pid, limits in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    check(service, key, count, server.folder / "data" / "astra.db")


def test_the_command_line_imports_alone_and_beside_a_service(launch: Launcher, tmp_path: Path) -> None:
    """Into the store without a service, and through one; the exit code says how it went, and the report is kept."""
    (tmp_path / "links.ndjson").write_bytes(rows_of(300))
    (tmp_path / "good.csv").write_bytes(b"url\n" + b"".join(b"https://example.com/%d\n" % n for n in range(50)))
    server = launch.serve().ready()
    where = {"ASTRA_STORE__URL": f"sqlite:{tmp_path}/own.db", "ASTRA_IMPORTS__FOLDER": f"{tmp_path}/own"}
    through = ["--server", f"http://127.0.0.1:{server.port}"]
    cases: list[tuple[str, list[str], Mapping[str, str], int]] = [
        ("links.ndjson", [], where, 3),
        ("good.csv", [], where, 0),
        ("links.ndjson", through, {}, 3),
        ("good.csv", through, {}, 0),
        ("nothing.csv", through, {}, 2),
        ("good.csv", ["--server", "http://127.0.0.1:1"], {}, 1),
    ]
    for place, (name, options, env, code) in enumerate(cases):
        report = tmp_path / f"report-{place}"
        run = launch.start("-m", "app", "import", str(tmp_path / name), "--report", str(report), *options, env=env)
        assert run.code() == code, (name, options, run.stderr)
        if code in {0, 3}:
            assert "is done" in run.stdout
            assert len(report.read_text().splitlines()) == (300 if name == "links.ndjson" else 51)
        else:
            assert len(run.stderr.splitlines()) == 1
    assert json.loads(server.get("/v1/links?limit=200")[1])["next_cursor"] is not None
    report = tmp_path / "later"
    key = json.loads(server.get("/v1/imports?limit=2")[1])["items"][1]["id"]
    later = launch.start("-m", "app", "import", "--resume", key, "--report", str(report), *through)
    assert later.code() == 3
    assert len(report.read_text().splitlines()) == 300
    lost = launch.start("-m", "app", "import", "--resume", key, "--report", "/dev/full", *through)
    assert lost.code() == 1
    assert "is done" in lost.stdout
    assert f"{through[1]}/v1/imports/{key}/report" in lost.stderr
    unknown = launch.start("-m", "app", "import", "--resume", "nope", *through)
    assert unknown.code() == 2
    assert "no import has the id 'nope'" in unknown.stderr


def test_a_worker_of_ones_own_says_whether_it_waits_or_works(launch: Launcher, tmp_path: Path) -> None:
    """Beside a service that carries imports out, it has one line about the lease; alone, one about its work."""
    where = {"ASTRA_STORE__URL": f"sqlite:{tmp_path}/own.db", "ASTRA_IMPORTS__FOLDER": f"{tmp_path}/own"}
    server = launch.serve(env=where).ready()
    service = Service(server)
    service.ends(service.json("POST", "/v1/imports", rows_of(10))["id"])
    beside = launch.start("-m", "app", "worker", env=where)
    beside.until("waiting", lambda: "another process holds the lease" in beside.stderr)
    time.sleep(1.5)
    assert beside.stderr.count("waiting") == 1
    assert beside.stdout == ""
    server.signal(signal.SIGTERM)
    server.code()
    beside.signal(signal.SIGTERM)
    assert beside.code() == 0
    alone = launch.start("-m", "app", "worker", env=where)
    alone.until("at work", lambda: alone.stdout)
    alone.signal(signal.SIGTERM)
    assert alone.code() == 0
    assert alone.stdout == f"astra: carrying imports out (store sqlite:{tmp_path}/own.db)\n"
    assert "waiting" not in alone.stderr


def test_an_interrupted_command_pauses_its_import_and_resumes_it(launch: Launcher, tmp_path: Path) -> None:
    """Ctrl-C is exit code 4 and names the id; with that id the rest is imported, each row once."""
    (tmp_path / "links.ndjson").write_bytes(rows_of(5_000))
    env = {
        "ASTRA_STORE__URL": f"sqlite:{tmp_path}/own.db",
        "ASTRA_IMPORTS__FOLDER": f"{tmp_path}/own",
        "ASTRA_IMPORTS__PAUSE": "50ms",
    }
    run = launch.start("-m", "app", "import", str(tmp_path / "links.ndjson"), env=env)
    run.until("under way", lambda: "running" in run.stderr)
    time.sleep(0.5)
    run.signal(signal.SIGINT)
    assert run.code() == 4
    key = run.stdout.split("import ")[1].split()[0]
    again = launch.start("-m", "app", "import", "--resume", key, env=env | {"ASTRA_IMPORTS__PAUSE": "1ms"})
    assert again.code() == 3, again.stderr
    server = launch.serve(env=env).ready()
    check(Service(server), key, 5_000, tmp_path / "own.db")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_stopped_before_there_is_an_import_says_so(
    launch: Launcher, tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    """While it copies its file: that nothing was imported, and nothing of the file stays."""
    file = tmp_path / "links.csv"
    os.mkfifo(file)
    command = [sys.executable, "-m", "app", "import", "-", "--format", "csv"]
    program = f"import os; os.dup2(os.open({str(file)!r}, os.O_RDONLY), 0); os.execv({sys.executable!r}, {command})"
    run = launch.start("-c", program)
    with file.open("wb", buffering=0) as pipe:  # opens once the command can read
        pipe.write(b"url\n")
        run.until("copying", lambda: [*run.folder.rglob("*.part")])
        run.signal(signum)
        assert run.code() == code  # whether anybody writes on or not
    (line,) = run.stderr.splitlines()
    assert "nothing was imported" in line
    assert not [*run.folder.rglob("*.part"), *run.folder.rglob("*.upload")]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_stopped_leaves_the_import_to_the_service(
    launch: Launcher, tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    """It says where the import is; of a service that has not answered yet it says where to look."""
    server = launch.serve(env={"ASTRA_IMPORTS__WORKER": "false"}).ready()
    (tmp_path / "links.ndjson").write_bytes(rows_of(10))
    command = ("-m", "app", "import", str(tmp_path / "links.ndjson"), "--server")
    run = launch.start(*command, f"http://127.0.0.1:{server.port}")
    run.until("waiting", lambda: "uploaded" in run.stderr)
    run.signal(signum)
    assert run.code() == code
    (item,) = Service(server).json("GET", "/v1/imports")["items"]
    assert f"the service goes on with import {item['id']}" in run.stderr
    assert item["state"] == "uploaded"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        early = launch.start(*command, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with silent.accept()[0]:
            early.signal(signum)
            assert early.code() == code
    assert "stopped before the service had answered" in early.stderr
    assert "Traceback" not in run.stderr + early.stderr


def test_uploads_that_break_off_leave_nothing(launch: Launcher) -> None:
    """A client that leaves in the middle of its file."""
    server = launch.serve().ready()
    with contextlib.closing(server.connection()) as connection:
        connection.putrequest("POST", "/v1/imports")
        connection.putheader("content-type", "application/x-ndjson")
        connection.putheader("content-length", "1000000")
        connection.endheaders(rows_of(1_000))
        folder = server.folder / "data" / "imports"
        server.until("receiving", lambda: list(folder.rglob("*.part")))
    server.until("swept", lambda: not list(folder.rglob("*.part")))
    assert json.loads(server.get("/v1/imports")[1])["items"] == []
