"""Redirects over uvicorn: the service against bare Starlette and against a raw ASGI constant, requests a second.

One uvicorn worker each (uvloop, httptools, no access log), all alive all the time, on one core; wrk on another, 32
connections, with 3 or 14 request headers. In each round every variant is loaded once for some seconds, in an order that
is shuffled each round; a ratio is taken within a round, and its median is the figure. `cpu` is the server's processor
time a request, which other work on the machine disturbs less than the rate; `busy` is the share of its core that the
server had, and where it is not near 1 the rates are limited by something else. On a machine with nothing else to do
raw/bare is 1.9 to 2.0: a run in which it is lower says little about the bar.

Every answer must be a redirect, and at the end the visits counted must be those answered, plus at most what was in
flight when wrk stopped: one request a connection and run. Exit code 3: wrk is not installed.

Ours has everything on: metrics, tracing at 1 % with a collector, access lines at 1 %, limits, breakers, deadlines,
retries.

Bar: ours/bare >= 1.05; the aim is 1.25.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from loadtests.browsers import FEW, MANY
from loadtests.collector import collecting
from loadtests.connection import Connection
from loadtests.figures import Figure, Report, at_least, progress
from loadtests.machine import Cores, conditions, cores
from loadtests.ratios import paired
from loadtests.reference import LOCATION, PATH
from loadtests.runs import Run, disturbances, figures_of, run_once
from loadtests.servers import HOST, Server, serving
from loadtests.variants import REDIRECTS, chosen
from loadtests.wrk import MISSING, Load, find_wrk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadtests.driving import Answer

__all__ = ["main"]

CONNECTIONS = 32
WARM_UP = 1  # seconds
BAR = at_least(1.05)
_SETTLE_TIMEOUT = 30.0
_SETTLE_POLL = 0.05


@dataclass(slots=True)
class Target:
    """A server under load, the path of its redirect, and what was answered there so far."""

    server: Server
    path: str
    answered: int = 0
    in_flight: int = 0
    runs: list[Run] = field(default_factory=list)

    @classmethod
    def of(cls, server: Server) -> Target:
        """Make the link of the service; a reference needs none."""
        if not server.variant.shortener:
            return cls(server, PATH)
        made = ask(server, "POST", "/v1/links", {"url": LOCATION})
        if made.status != 201:
            raise AssertionError(f"{server.variant.name}: the link was not made: {made.status} {made.body!r}")
        return cls(server, f"/{made.json()['code']}")

    def check(self) -> None:
        """Follow the link once; raises `AssertionError` when the answer is not the redirect wanted."""
        answer = ask(self.server, "GET", self.path)
        self.answered += 1
        found = (answer.status, answer.headers.get("location"))
        if found != (302, LOCATION):
            raise AssertionError(f"{self.server.variant.name}: {self.path} answered {found}")

    def load(self, load: Load, *, seconds: int | None = None) -> Run:
        """Load it once, and wait until all is counted; raises `AssertionError` for a wrong answer or count."""
        run = run_once(self.server, self.path, load, seconds=seconds)
        self.answered += run.result.requests
        self.in_flight += load.connections
        self.settle()
        return run

    def settle(self) -> None:
        """Wait until all visits are counted, so that this work does not fall into the next variant's time."""
        if not self.server.variant.shortener:
            return
        deadline = time.monotonic() + _SETTLE_TIMEOUT
        while (visits := self._visits()) < self.answered and time.monotonic() < deadline:
            time.sleep(_SETTLE_POLL)
        if not self.answered <= visits <= self.answered + self.in_flight:
            name, most = self.server.variant.name, self.answered + self.in_flight
            raise AssertionError(f"{name}: {visits} visits counted, answered were {self.answered} to {most}")

    def _visits(self) -> int:
        return cast("int", ask(self.server, "GET", f"/v1/links{self.path}").json()["visits"])


def ask(server: Server, method: str, path: str, payload: object = None) -> Answer:
    """Send one request on a connection of its own."""

    async def asked() -> Answer:
        async with Connection(HOST, server.port) as connection:
            return await connection.request(method, path, payload)

    return asyncio.run(asked())


def measure(options: argparse.Namespace, wrk: str, folder: Path) -> int:
    """Start every variant, run the rounds, print the report, and return the exit code."""
    pinned = cores()
    headers = MANY if options.headers == len(MANY) else FEW
    load = Load(wrk=wrk, connections=CONNECTIONS, seconds=options.seconds, core=pinned.load, headers=headers[1:])
    report = Report("redirects", described(options, pinned))
    with ExitStack() as stack:
        variants = chosen(options.variant, collector=stack.enter_context(collecting()))
        servers = [stack.enter_context(serving(each, folder / each.name, core=pinned.server)) for each in variants]
        try:
            targets = [Target.of(server) for server in servers]
            run(targets, load, options)
        except AssertionError as error:
            report.faults.append(str(error))
        else:
            runs = {target.server.variant.name: target.runs for target in targets}
            report.figures += figures(runs)
            report.notes += disturbances(runs)
        report.notes += [line for server in servers for line in server.complaints()]
    return report.emit()


def run(targets: Sequence[Target], load: Load, options: argparse.Namespace) -> None:
    """Warm up, then measure; raises `AssertionError` for a wrong answer or count."""
    for target in targets:
        target.check()
        target.load(load, seconds=WARM_UP)
    order = random.Random(options.seed)
    for number in range(options.rounds):
        for target in order.sample(targets, len(targets)):
            target.runs.append(target.load(load))
        rates = (f"{target.server.variant.name} {target.runs[-1].result.rate:,.0f}/s" for target in targets)
        progress(f"round {number + 1} of {options.rounds}: {', '.join(rates)}")
    for target in targets:
        target.check()
        target.settle()


def figures(runs: Mapping[str, Sequence[Run]]) -> list[Figure]:
    """Return the figures of each server, then the ratios."""
    found = [figure for name in runs for figure in figures_of(name, runs[name])]
    rates = {name: [run.result.rate for run in measured] for name, measured in runs.items()}
    costs = {name: [run.cost for run in measured] for name, measured in runs.items()}
    ours, bare, raw = rates["ours"], rates["bare"], rates["raw"]
    found.append(Figure("ours/bare", "ratio", paired(ours, bare), BAR))
    found.append(Figure("raw/bare", "ratio", paired(raw, bare)))
    found.append(Figure("ours/raw", "ratio", paired(ours, raw)))
    found.append(Figure("cpu bare/ours", "ratio", paired(costs["bare"], costs["ours"])))
    found.append(Figure("cpu bare/raw", "ratio", paired(costs["bare"], costs["raw"])))
    others = [name for name in rates if name not in {"ours", "bare", "raw"}]
    return found + [Figure(f"{name}/bare", "ratio", paired(rates[name], bare)) for name in others]


def described(options: argparse.Namespace, pinned: Cores) -> dict[str, object]:
    """Return the conditions of this run."""
    return conditions(
        rounds=options.rounds,
        seconds=options.seconds,
        headers=options.headers,
        seed=options.seed,
        connections=CONNECTIONS,
        load_on_its_own_core=pinned.apart,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code is 0 when the bar holds."""
    parser = argparse.ArgumentParser(
        prog="loadtests.redirects", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=2, help="length of one run")
    parser.add_argument("--headers", type=int, choices=(len(FEW), len(MANY)), default=len(FEW))
    parser.add_argument("--seed", type=int, default=1, help="of the order within the rounds")
    parser.add_argument("--variant", action="append", default=[], help=f"load this too; known: {', '.join(REDIRECTS)}")
    options = parser.parse_args(arguments)
    wrk = find_wrk()
    if wrk is None:
        progress(
            "wrk is not installed: nothing was measured (https://github.com/wg/wrk; Debian, Ubuntu: apt install wrk)"
        )
        return MISSING
    with tempfile.TemporaryDirectory(prefix="astra-redirects-") as folder:
        return measure(options, wrk, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
