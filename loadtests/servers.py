"""Starts and stops servers: one uvicorn worker each, in a process group of its own, on a port the system chose."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loadtests.variants import Variant

__all__ = ["HOST", "Server", "ServerError", "serving", "start"]

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 10.0
_POLL = 0.002
_RUNNING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")
_COMPLAINT = re.compile(r'WARNING|ERROR|CRITICAL|Traceback|\{"time":"[^"]*","level":"(?:warning|error|critical)"')
"""A line of uvicorn's own set-up, or of ours."""
_OPTIONS = ("--host", HOST, "--port", "0", "--loop", "uvloop", "--http", "httptools", "--no-access-log")


class ServerError(Exception):
    """A server did not start; the text is the end of its log."""


@dataclass(slots=True)
class Server:
    """A server that answers. `start_up` are the seconds from its start until it said that it does."""

    variant: Variant
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    start_up: float

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://{HOST}:{self.port}"

    def cpu(self) -> float:
        """Return the seconds of processor time it took so far, its children's not included (Linux)."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def complaints(self) -> list[str]:
        """Return the lines of its log that are warnings or worse."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if _COMPLAINT.match(line)]

    def stop(self) -> None:
        """Ask for an orderly end, and end what is left of the process group."""
        _signal(self.process, signal.SIGTERM)
        try:
            self.process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            _signal(self.process, signal.SIGKILL)
            self.process.wait()


def start(variant: Variant, *, environ: Mapping[str, str], log: Path, core: int | None = None) -> Server:
    """Start one worker of `variant`, on `core` alone when one is given; raises `ServerError`."""
    command = [sys.executable, "-m", "uvicorn", variant.target, *_OPTIONS]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ASTRA_")}
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command if core is None else ["taskset", "-c", str(core), *command],
            cwd=ROOT,
            env={**inherited, **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        port = _port(process, log, deadline=began + _START_TIMEOUT)
    except BaseException:
        _signal(process, signal.SIGKILL)
        process.wait()
        raise
    return Server(variant, process, port, log, time.monotonic() - began)


@contextmanager
def serving(variant: Variant, folder: Path, *, core: int | None = None) -> Iterator[Server]:
    """Serve `variant` with its data and its log in `folder`."""
    server = start(variant, environ=variant.environ(folder), log=folder / "server.log", core=core)
    try:
        yield server
    finally:
        server.stop()


def _port(process: subprocess.Popen[bytes], log: Path, *, deadline: float) -> int:
    while True:
        ended = process.poll() is not None
        text = log.read_text(encoding="utf-8", errors="replace")
        if found := _RUNNING.search(text):
            return int(found[1])
        if ended or time.monotonic() > deadline:
            raise ServerError(f"exit code {process.poll()}: {text[-2000:]}")
        time.sleep(_POLL)


def _signal(process: subprocess.Popen[bytes], signum: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signum)
