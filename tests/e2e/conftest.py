"""Real servers in processes of their own: started with a deadline, and never left behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
DEADLINE = 30.0  # seconds after which waiting is a failure; nothing here asserts how long a thing took


class Process:
    """A command in its own session and working folder, with its output in a file each."""

    def __init__(self, command: Sequence[str], *, folder: Path, port: int | None, env: dict[str, str]) -> None:
        folder.mkdir()
        self.folder = folder
        self.env = env
        self.port = port
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.popen = subprocess.Popen(
                command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )

    @property
    def stdout(self) -> str:
        """What it printed so far."""
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        """What it complained of so far."""
        return self._err.read_text()

    def until(self, what: str, condition: Callable[[], object], *, running: bool = True) -> None:
        """Poll until `condition` holds; fails at the deadline, or if the process ends but should be `running`."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if running and self.popen.poll() is not None:
                pytest.fail(f"ended with {self.popen.returncode} before {what}\n{self.stdout}\n{self.stderr}")
            if time.monotonic() > deadline:
                pytest.fail(f"not {what} within {DEADLINE} s\n{self.stdout}\n{self.stderr}")
            time.sleep(0.02)

    def ready(self) -> Process:
        """Wait until it answers; under `serve` that is the line it prints, which also names the port."""
        if self.port is None:
            self.until("ready", lambda: re.search(r"^astra: serving \S+:\d+ ", self.stdout, re.MULTILINE))
            found = re.search(r"serving \S+:(\d+) ", self.stdout)
            assert found is not None
            self.port = int(found[1])
        self.until("answering", self.answers)
        return self

    def get(self, path: str, *, timeout: float = DEADLINE) -> tuple[int, bytes]:
        """One GET over a new connection: status and body."""
        with contextlib.closing(self.connection(timeout=timeout)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def connection(self, *, timeout: float = DEADLINE) -> http.client.HTTPConnection:
        """A new connection, not yet opened."""
        assert self.port is not None
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def answers(self) -> bool:
        """Whether a health check is answered with 200."""
        try:
            return self.get("/healthz", timeout=5)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def listening(self) -> bool:
        """Whether anybody holds the port."""
        assert self.port is not None
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                return True
            return False

    def workers(self) -> set[int]:
        """The process ids of its children that serve."""
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
        return {pid for pid, command in commands.items() if b"child.py" in command or b"spawn_main" in command}

    def signal(self, signum: signal.Signals) -> None:
        """Signal the parent alone."""
        self.popen.send_signal(signum)

    def code(self) -> int:
        """Wait for the end and return the exit code."""
        return self.popen.wait(DEADLINE)

    def close(self) -> None:
        """Kill the whole process group; the group's id is ours for as long as a member lives or waits to be reaped."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(DEADLINE)


class Launcher:
    """Starts servers, each in an own folder of the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Process] = []

    def start(self, *command: str, port: int | None = None, env: Mapping[str, str] | None = None) -> Process:
        """Run `python command…` with the checkout importable, away from its settings and its data."""
        clean = {name: value for name, value in os.environ.items() if "ASTRA_" not in name}
        path = os.pathsep.join((str(ROOT), str(HERE)))
        variables = {**clean, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
        folder = self._folder / f"server-{len(self._started)}"
        process = Process([sys.executable, *command], folder=folder, port=port, env=variables)
        self._started.append(process)
        return process

    def serve(self, *options: str, env: Mapping[str, str] | None = None) -> Process:
        """`python -m app serve` on a free port."""
        return self.start("-m", "app", "serve", "--port", "0", *options, env=env)

    def bare(self, server: str, app: str = "app:asgi", *, env: Mapping[str, str] | None = None) -> Process:
        """A server's own command, such as `uvicorn --workers 2`, on a free port."""
        name, *options = server.split()
        port = free_port()
        where = ["--port", str(port)] if name == "uvicorn" else ["--bind", f"127.0.0.1:{port}"]
        return self.start("-m", name, *options, *where, app, port=port, env=env)

    def close(self) -> None:
        """Kill what was started."""
        for process in self._started:
            process.close()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launcher]:
    """Start servers; all that they started is killed afterwards."""
    launcher = Launcher(tmp_path)
    yield launcher
    launcher.close()
