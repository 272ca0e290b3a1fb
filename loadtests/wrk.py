"""Runs wrk (https://github.com/wg/wrk) and reads what it measured."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from astra_core.asgi import Header

__all__ = ["MISSING", "Load", "WrkError", "WrkResult", "find_wrk", "may_be_first"]

MISSING = 3
"""Exit code of a load test that needs wrk and does not find it."""

LUA = Path(__file__).with_name("lua")
_MARK = "ASTRA-WRK "
_GRACE = 30.0
_FIRST = ("chrt", "--rr", "1")


class WrkError(Exception):
    """wrk ended with an error or printed no result."""


@dataclass(frozen=True, slots=True)
class WrkResult:
    """One run. `requests` were answered; `refused` of them with a status of 400 or above. Latencies are in seconds."""

    requests: int
    seconds: float
    refused: int
    broken: int
    """Connections that could not be made, broke or timed out."""
    p50: float
    p99: float
    longest: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def clean(self) -> bool:
        """Whether every answer was a good one."""
        return self.refused == 0 and self.broken == 0

    @classmethod
    def parse(cls, output: str) -> Self:
        """Read the line that `done.lua` prints; raises `WrkError` when it is not there."""
        for line in output.splitlines():
            if line.startswith(_MARK):
                found = json.loads(line.removeprefix(_MARK))
                latencies = (found[name] / 1e6 for name in ("p50", "p99", "longest"))
                return cls(found["requests"], found["duration"] / 1e6, found["refused"], found["broken"], *latencies)
        raise WrkError(f"no result in the output of wrk: {output[-500:]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How to load a server: `connections` that each wait for the answer before the next request, for whole seconds.

    One thread of wrk, on `core` alone when one is given. `first`: before every other process there, as if it were
    another machine's (needs the right to run with real-time priority: see `may_be_first`).
    """

    wrk: str
    connections: int
    seconds: int
    core: int | None
    headers: Sequence[Header] = ()
    script: str = "done.lua"
    first: bool = False

    def run(self, url: str, *, seconds: int | None = None, arguments: Iterable[str] = ()) -> WrkResult:
        """Run wrk once against `url`; `arguments` go to the script."""
        duration = self.seconds if seconds is None else seconds
        command = [self.wrk, "-t1", f"-c{self.connections}", f"-d{duration}s", "-s", str(LUA / self.script)]
        for name, value in self.headers:
            command += ["-H", f"{name.decode()}: {value.decode()}"]
        pinned = [] if self.core is None else ["taskset", "-c", str(self.core)]
        if self.first:
            pinned += _FIRST
        finished = subprocess.run(
            [*pinned, *command, url, "--", *arguments],
            capture_output=True,
            text=True,
            timeout=duration + _GRACE,
            check=False,
        )
        if finished.returncode != 0:
            raise WrkError(f"wrk ended with {finished.returncode}: {finished.stderr[-500:]}")
        return WrkResult.parse(finished.stdout)


def may_be_first() -> bool:
    """Whether a load may come `first`."""
    try:
        return subprocess.run([*_FIRST, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def find_wrk() -> str | None:
    """Return the path of wrk, None when it is not installed."""
    return shutil.which("wrk")
