"""Creations over HTTP: `POST /v1/links` on SQLite with `synchronous=FULL`, against a bare Starlette JSON echo.

One uvicorn worker each on one core, both alive all the time; wrk on another core, 32 connections, a URL that was never
sent before in each body, and the same bodies to both. The echo decodes and encodes its body and stores nothing. In each
round both are loaded once for some seconds, in an order that is shuffled; the ratio is taken within the round. `cpu` is
the server's processor time a request, threads and kernel included; `busy` is the share of one core that it used, and
where it is not near 1 the server waited: for the disk, or for other work on the machine.

Every answer must be 201, and at the end the links in the store must be those answered, plus at most what was in flight
when wrk stopped: one request a connection and run. Exit code 3: wrk is not installed.

Bar: ours/echo >= 0.3.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from loadtests.connection import Connection
from loadtests.figures import Figure, Report, at_least, progress
from loadtests.machine import conditions, cores
from loadtests.ratios import paired
from loadtests.runs import Run, disturbances, figures_of, run_once
from loadtests.servers import HOST, Server, serving
from loadtests.variants import ECHO, OURS
from loadtests.wrk import MISSING, Load, find_wrk

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

CONNECTIONS = 32
WARM_UP = 1  # seconds
BAR = at_least(0.3)
_PAGE = 200


@dataclass(slots=True)
class Target:
    """A server that takes creations, and what it answered so far."""

    server: Server
    answered: int = 0
    loads: int = 0
    runs: list[Run] = field(default_factory=list)

    def load(self, load: Load, *, seconds: int | None = None) -> Run:
        """Load it once; raises `AssertionError` for an answer that is no success."""
        self.loads += 1
        run = run_once(self.server, "/v1/links", load, seconds=seconds, arguments=[f"run-{self.loads}"])
        self.answered += run.result.requests
        return run


async def count_links(server: Server) -> int:
    """Count the links of the service, page by page; raises `AssertionError` when a page cannot be read."""
    codes: set[str] = set()
    cursor = ""
    async with Connection(HOST, server.port) as connection:
        while True:
            answer = await connection.request("GET", f"/v1/links?limit={_PAGE}{cursor}")
            if answer.status != 200:
                raise AssertionError(f"a page of links answered {answer.status}: {answer.body[:200]!r}")
            page = answer.json()
            codes.update(item["code"] for item in page["items"])
            if page["next_cursor"] is None:
                return len(codes)
            cursor = f"&cursor={quote(page['next_cursor'], safe='')}"


def measure(options: argparse.Namespace, wrk: str, folder: Path) -> int:
    """Start both servers, run the rounds, print the report, and return the exit code."""
    pinned = cores()
    load = Load(wrk=wrk, connections=CONNECTIONS, seconds=options.seconds, core=pinned.load, script="creates.lua")
    settings = conditions(rounds=options.rounds, seconds=options.seconds, seed=options.seed, connections=CONNECTIONS)
    report = Report("creates", {**settings, "load_on_its_own_core": pinned.apart})
    with ExitStack() as stack:
        ours, echo = (
            Target(stack.enter_context(serving(variant, folder / variant.name, core=pinned.server)))
            for variant in (OURS, ECHO)
        )
        try:
            run((ours, echo), load, options)
            check_links(ours, report)
        except AssertionError as error:
            report.faults.append(str(error))
        else:
            report.figures += figures(ours, echo)
            report.notes += disturbances({"ours": ours.runs, "echo": echo.runs})
        report.notes += ours.server.complaints()
    return report.emit()


def run(targets: Sequence[Target], load: Load, options: argparse.Namespace) -> None:
    """Warm up, then measure; raises `AssertionError` for an answer that is no success."""
    for target in targets:
        target.load(load, seconds=WARM_UP)
    order = random.Random(options.seed)
    for number in range(options.rounds):
        for target in order.sample(targets, len(targets)):
            target.runs.append(target.load(load))
        rates = (f"{target.server.variant.name} {target.runs[-1].result.rate:,.0f}/s" for target in targets)
        progress(f"round {number + 1} of {options.rounds}: {', '.join(rates)}")


def check_links(ours: Target, report: Report) -> None:
    """Compare the links in the store with the creations answered."""
    found, most = asyncio.run(count_links(ours.server)), ours.answered + ours.loads * CONNECTIONS
    if not ours.answered <= found <= most:
        raise AssertionError(f"{found} links are in the store, answered were {ours.answered} to {most}")
    report.figures.append(Figure.single("links", "links", found))


def figures(ours: Target, echo: Target) -> list[Figure]:
    """Return the figures of both servers, then the ratios."""
    rates = paired([run.result.rate for run in ours.runs], [run.result.rate for run in echo.runs])
    costs = paired([run.cost for run in echo.runs], [run.cost for run in ours.runs])
    return [
        *figures_of("ours", ours.runs),
        *figures_of("echo", echo.runs),
        Figure("ours/echo", "ratio", rates, BAR),
        Figure("cpu echo/ours", "ratio", costs),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code is 0 when the bar holds."""
    parser = argparse.ArgumentParser(
        prog="loadtests.creates", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=2, help="length of one run")
    parser.add_argument("--seed", type=int, default=1, help="of the order within the rounds")
    options = parser.parse_args(arguments)
    wrk = find_wrk()
    if wrk is None:
        progress(
            "wrk is not installed: nothing was measured (https://github.com/wg/wrk; Debian, Ubuntu: apt install wrk)"
        )
        return MISSING
    with tempfile.TemporaryDirectory(prefix="astra-creates-") as folder:
        return measure(options, wrk, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
