"""A bulk import beside paced redirects: rows a second, and what it does to the redirects' p99.

One uvicorn worker on one core; its redirects come from wrk on another core, at a fifth of what the server was measured
to bear just before: every connection waits between two requests. The worker of imports is the service's own, and may
use every core; where that is allowed wrk comes before it on its own (`load_comes_first`), for it stands for clients on
other machines, whom an import here does not make wait. An import of an NDJSON file is paused and resumed over the API.
In each round the redirects run once while it is paused (`normal`) and once while it runs (`beside`), in an order that
is shuffled; the ratio of the two p99 is taken within the round. Then the import runs for a while `alone`. `hold` is how
long its commits kept the write lock, from the worker's own histogram.

Every redirect must be a good one, and at the end the links in the store must be those that the import says it made.
Exit code 3: wrk is not installed.

Bars: beside >= 10,000 rows/s; p99 beside/normal <= 2; 99 of 100 commits hold the lock for 10 ms at most.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import sqlite3
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtests.connection import Connection
from loadtests.figures import Figure, Report, at_least, at_most, progress
from loadtests.machine import conditions, cores
from loadtests.ratios import paired, quartiles
from loadtests.runs import Run, run_once
from loadtests.servers import HOST, Server, serving
from loadtests.variants import OURS
from loadtests.wrk import MISSING, Load, find_wrk, may_be_first

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]

CONNECTIONS = 32
SHARE = 0.2
"""Of the server's capacity that the paced redirects take."""
HOLD = "0.01"
"""The bucket of the lock's histogram that the bar is about."""
_SETTINGS = {"ASTRA_IMPORTS__IDLE": "1h"}
_BUCKET = re.compile(r'astra_import_hold_seconds_bucket\{le="([^"]+)"\} (\S+)')
_POLL = 0.02
_PATIENCE = 60.0


@dataclass(slots=True)
class Window:
    """Rows that were imported in some seconds, and the seconds of processor time that the worker took for them."""

    rows: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


@dataclass(slots=True)
class Findings:
    """What the rounds gave."""

    normal: list[Run] = field(default_factory=list)
    beside: list[Run] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    alone: list[Window] = field(default_factory=list)


class Import:
    """An import of the service, as its client sees it."""

    def __init__(self, server: Server, key: str) -> None:
        self._server = server
        self._key = key

    @classmethod
    def begin(cls, server: Server, file: Path) -> Import:
        """Upload the file, and pause what was made of it."""
        view = asyncio.run(_upload(server, file, file.stat().st_size))
        made = cls(server, view["id"])
        made.move("pause")
        return made

    def move(self, move: str) -> None:
        """Pause or resume it."""
        _call(self._server, "POST", f"/v1/imports/{self._key}/{move}")

    def view(self) -> dict[str, Any]:
        """Look at it."""
        return _call(self._server, "GET", f"/v1/imports/{self._key}")

    @contextlib.contextmanager
    def running(self) -> Iterator[Window]:
        """Let it run; the rows and seconds of the window are there when the context is left."""
        window = Window()
        before = self.view()["done"]
        self.move("resume")
        deadline = time.monotonic() + _PATIENCE
        while (view := self.view())["done"] <= before:
            if view["state"] in {"done", "failed"} or time.monotonic() > deadline:
                raise AssertionError(f"the import does not move: {view}")
            time.sleep(_POLL)
        began, first, cpu = time.monotonic(), view["done"], worker_cpu(self._server)
        yield window
        view = self.view()
        window.seconds, window.rows = time.monotonic() - began, view["done"] - first
        window.cpu = worker_cpu(self._server) - cpu
        if view["state"] != "running":
            raise AssertionError(f"the import came to its end within the window ({view['state']}): give it more rows")
        self.move("pause")


def _call(server: Server, method: str, path: str) -> dict[str, Any]:
    async def call() -> dict[str, Any]:
        async with Connection(HOST, server.port) as connection:
            answer = await connection.request(method, path)
        if answer.status != 200:
            raise AssertionError(f"{method} {path} answered {answer.status}: {answer.body[:200]!r}")
        found: dict[str, Any] = answer.json()
        return found

    return asyncio.run(call())


async def _upload(server: Server, file: Path, size: int) -> dict[str, Any]:
    reader, writer = await asyncio.open_connection(HOST, server.port)
    head = f"POST /v1/imports HTTP/1.1\r\nhost: {HOST}:{server.port}\r\ncontent-type: application/x-ndjson\r\n"
    writer.write(f"{head}content-length: {size}\r\nconnection: close\r\n\r\n".encode())
    with file.open("rb") as source:
        while chunk := source.read(2**20):
            writer.write(chunk)
            await writer.drain()
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 201"):
        raise AssertionError(f"the upload was answered {answer[:300]!r}")
    view: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return view


def write_rows(file: Path, count: int) -> None:
    """Write a file of links, none of them twice."""
    with file.open("w", encoding="ascii") as target:
        for n in range(count):
            target.write(f'{{"url": "https://example.com/products/{n}?from=import", "title": "Product {n}"}}\n')


def children(server: Server) -> list[str]:
    """Return the process ids of the server's children: the worker's, when it runs."""
    return Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()


def worker_cpu(server: Server) -> float:
    """Return the seconds of processor time that the worker took so far, the kernel's work for it included."""
    ticks = 0
    for pid in children(server):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(stat[11]) + int(stat[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def free_the_worker(server: Server) -> None:
    """Let the worker use every core: it inherited its parent's one."""
    usable = os.sched_getaffinity(0)
    for pid in children(server):
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), usable)


def holds(server: Server) -> dict[str, float]:
    """Return how many commits held the lock for no longer than each bound."""

    async def scrape() -> str:
        async with Connection(HOST, server.port) as connection:
            return (await connection.request("GET", "/metrics")).body.decode()

    time.sleep(1.5)  # a worker shows its figures once a second
    return {bound: float(count) for bound, count in _BUCKET.findall(asyncio.run(scrape()))}


def measure(options: argparse.Namespace, wrk: str, folder: Path) -> int:
    """Start the server, run the rounds, print the report, and return the exit code."""
    pinned = cores()
    settings = conditions(
        rounds=options.rounds, seconds=options.seconds, seed=options.seed, rows=options.rows, share=SHARE
    )
    first = may_be_first()
    report = Report("imports", {**settings, "load_on_its_own_core": pinned.apart, "load_comes_first": first})
    write_rows(folder / "links.ndjson", options.rows)
    ours = replace(OURS, settings={**OURS.settings, **_SETTINGS})
    with serving(ours, folder, core=pinned.server) as server:
        full = Load(wrk=wrk, connections=CONNECTIONS, seconds=options.seconds, core=pinned.load, first=first)
        try:
            rounds(server, full, options, folder, report)
        except AssertionError as error:
            report.faults.append(str(error))
        report.notes += server.complaints()
    return report.emit()


def rounds(server: Server, full: Load, options: argparse.Namespace, folder: Path, report: Report) -> None:
    """Measure all there is; raises `AssertionError` for a redirect that failed or an import that lies."""
    path = _make_link(server)
    run_once(server, path, full, seconds=1)
    capacity = run_once(server, path, full).result.rate
    pause = max(1, round(1000 * CONNECTIONS / (SHARE * capacity)))
    paced, arguments = replace(full, script="paced.lua"), [str(pause)]
    work = Import.begin(server, folder / "links.ndjson")
    with work.running():
        free_the_worker(server)
        time.sleep(1)
    found = Findings()
    order = random.Random(options.seed)
    for number in range(options.rounds):
        for kind in order.sample(("normal", "beside"), 2):
            if kind == "normal":
                found.normal.append(run_once(server, path, paced, arguments=arguments))
            else:
                with work.running() as window:
                    found.beside.append(run_once(server, path, paced, arguments=arguments))
                found.windows.append(window)
        with work.running() as window:
            time.sleep(options.seconds)
        found.alone.append(window)
        normal, beside = found.normal[-1].result, found.beside[-1].result
        progress(
            f"round {number + 1} of {options.rounds}: p99 {normal.p99 * 1e3:.2f} ms, beside {beside.p99 * 1e3:.2f} ms "
            f"at {found.windows[-1].rate:,.0f} rows/s; alone {window.rate:,.0f} rows/s"
        )
    report.figures += figures(found, capacity, holds(server))
    check(work, folder / "astra.db")


def _make_link(server: Server) -> str:
    async def make() -> str:
        async with Connection(HOST, server.port) as connection:
            answer = await connection.request("POST", "/v1/links", {"url": "https://example.com/", "code": "paced"})
            if answer.status != 201:
                raise AssertionError(f"the link was answered {answer.status}")
        return "/paced"

    return asyncio.run(make())


def check(work: Import, database: Path) -> None:
    """Compare the links in the store with what the import says."""
    view = work.view()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        (links,) = connection.execute("SELECT count(*) FROM r_links").fetchone()
    if links != view["created"] + 1 or view["created"] != view["done"]:
        raise AssertionError(f"{links} links are in the store, and the import says {view}")


def figures(found: Findings, capacity: float, within: dict[str, float]) -> list[Figure]:
    """Return the figures, the ones with bars last."""
    p99s = [[run.result.p99 * 1e3 for run in runs] for runs in (found.normal, found.beside)]
    commits = within.get("+Inf", 0.0)
    return [
        Figure.single("capacity", "requests/s", capacity),
        Figure("paced.rate", "requests/s", quartiles([run.result.rate for run in found.normal])),
        Figure("paced beside.rate", "requests/s", quartiles([run.result.rate for run in found.beside])),
        Figure("p99 normal", "ms", quartiles(p99s[0])),
        Figure("p99 beside", "ms", quartiles(p99s[1])),
        Figure("alone", "rows/s", quartiles([window.rate for window in found.alone])),
        Figure("worker.cpu", "us a row", quartiles([1e6 * w.cpu / max(1, w.rows) for w in found.alone])),
        Figure.single("commits", "commits", commits),
        Figure("beside", "rows/s", quartiles([window.rate for window in found.windows]), at_least(10_000)),
        Figure("p99 beside/normal", "ratio", paired(p99s[1], p99s[0]), at_most(2.0)),
        Figure.single("hold <= 10 ms", "of commits", within[HOLD] / commits if commits else 0.0, at_least(0.99)),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; the exit code is 0 when the bars hold."""
    parser = argparse.ArgumentParser(
        prog="loadtests.imports", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="length of one run")
    parser.add_argument("--rows", type=int, default=2_000_000, help="of the file; more than the rounds can import")
    parser.add_argument("--seed", type=int, default=1, help="of the order within the rounds")
    options = parser.parse_args(arguments)
    wrk = find_wrk()
    if wrk is None:
        progress(
            "wrk is not installed: nothing was measured (https://github.com/wg/wrk; Debian, Ubuntu: apt install wrk)"
        )
        return MISSING
    with tempfile.TemporaryDirectory(prefix="astra-imports-") as folder:
        return measure(options, wrk, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
