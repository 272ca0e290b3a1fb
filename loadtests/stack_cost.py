"""What one redirect costs in process: the whole stack against bare Starlette and against a raw ASGI constant.

Measured with 3 request headers (a load generator) and 14 (a browser), each in two ways: `calls` calls the application
as a server would (fresh scope each time, stub `receive` and `send`), and `uvicorn` goes through uvicorn's httptools
protocol over transports without sockets, 32 connections. The variants take turns in short blocks, in an order that is
shuffled each round; a ratio is taken within a round, and its median over the rounds is the figure. Microseconds of
processor time a request, so that other processes disturb less; `wall/cpu` says how much the core was shared (1: not at
all). The cost of building the scope (`calls.floor`) is in every figure of `calls`.

Ours has a real store and a real journal, its link in the cache. After each block every visit must be counted, which is
a check and also keeps the counting out of the next block's time; `background` is the processor time it takes a request.
What the kernel and the sockets add: see `loadtests.redirects`.

Ours has everything on: metrics, tracing at 1 % with a collector, access lines at 1 %, limits, breakers, deadlines,
retries.
`instrumented` is bare Starlette with prometheus-fastapi-instrumentator and opentelemetry-instrumentation-asgi, every
request traced. `sampled.extra` is what a request that is traced, with its spans of store calls, costs the event loop
more than one that is not; exporting them is background. With `--variant away` ours is measured with its collector away
as well.

Bars: ours/bare <= 0.70 with 3 headers, <= 0.80 with 14, <= 0.90 through uvicorn with 3; sampled.extra <= 120 us.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import io
import pstats
import random
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from loadtests.browsers import FEW, MANY
from loadtests.collector import collecting
from loadtests.driving import drive
from loadtests.figures import Figure, Report, at_most, progress
from loadtests.machine import conditions
from loadtests.protocol import Connections
from loadtests.ratios import paired, quartiles
from loadtests.reference import PATH, nothing
from loadtests.subjects import Subject, opened
from loadtests.variants import AWAY, INSTRUMENTED, OURS, REDIRECTS, chosen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.asgi import Header
    from loadtests.driving import Stopwatch
    from loadtests.figures import Bar

__all__ = ["main"]

CONNECTIONS = 32
HEADERS: dict[int, tuple[Header, ...]] = {len(headers): headers for headers in (FEW, MANY)}
RATIOS = (("ours", "bare"), ("bare", "raw"), ("ours", "raw"))
BARS: dict[str, Bar] = {
    "calls.3.ours/bare": at_most(0.70),
    "calls.14.ours/bare": at_most(0.80),
    "uvicorn.3.ours/bare": at_most(0.90),
}
SAMPLED = at_most(120.0)
TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
WARM_UP = 2_000
_MICROSECONDS = 1e6


@dataclass(slots=True)
class Bench:
    """The subjects of one run, with their connections, and the microseconds a request of each block by series."""

    subjects: list[Subject]
    connections: dict[str, Connections]
    requests: int
    series: dict[str, list[float]] = field(default_factory=dict)
    shared: list[float] = field(default_factory=list)

    async def round(self, order: random.Random) -> None:
        """Measure every subject once in every way."""
        for count, headers in HEADERS.items():
            self._note(
                f"calls.{count}.floor", await drive(nothing, PATH, headers, requests=self.requests), self.requests
            )
            for subject in order.sample(self.subjects, len(self.subjects)):
                requests = int(self.requests * subject.variant.share)
                watch = await drive(subject.app, subject.path, headers, requests=requests)
                self._note(f"calls.{count}.{subject.variant.name}", watch, requests)
                subject.driven += requests
                await subject.settle()
                if subject.variant.name == OURS.name and count == len(FEW):
                    await self._sampled(subject)
            for subject in order.sample(self.subjects, len(self.subjects)):
                connections = self.connections[subject.variant.name]
                requests = int(self.requests * subject.variant.share)
                watch, sent = await connections.drive(subject.path, headers, requests=requests)
                self._note(f"uvicorn.{count}.{subject.variant.name}", watch, sent)
                subject.driven += sent
                await subject.settle()

    async def _sampled(self, subject: Subject) -> None:
        """Measure a request that reads the store, traced and not."""
        path, requests = f"/v1/links{subject.path}", self.requests // 10
        for name, flags in (("sampled", b"01"), ("unsampled", b"00")):
            headers = (*FEW, (b"traceparent", TRACEPARENT + flags))
            watch = await drive(subject.app, path, headers, requests=requests)
            self.series.setdefault(f"read.{name}", []).append(watch.thread / requests * _MICROSECONDS)
            await subject.settle()

    def _note(self, name: str, watch: Stopwatch, requests: int) -> None:
        self.series.setdefault(name, []).append(watch.cpu / requests * _MICROSECONDS)
        self.shared.append(watch.wall / watch.cpu)

    def figures(self) -> list[Figure]:
        """Return the costs, then the ratios."""
        figures = [Figure(name, "us", quartiles(values)) for name, values in sorted(self.series.items())]
        names = [subject.variant.name for subject in self.subjects]
        away = [(AWAY.name, OURS.name)] if AWAY.name in names else []
        pairs = [*RATIOS, *away, *((name, "bare") for name in names if name not in {"ours", "bare", "raw"})]
        for way in ("calls", "uvicorn"):
            for count in HEADERS:
                for above, below in pairs:
                    name = f"{way}.{count}.{above}/{below}"
                    ratio = paired(self.series[f"{way}.{count}.{above}"], self.series[f"{way}.{count}.{below}"])
                    figures.append(Figure(name, "ratio", ratio, BARS.get(name)))
        extra = [on - off for on, off in zip(self.series["read.sampled"], self.series["read.unsampled"], strict=True)]
        figures.append(Figure("sampled.extra", "us", quartiles(extra), SAMPLED))
        return [*figures, Figure("wall/cpu", "ratio", quartiles(self.shared))]


async def measure(options: argparse.Namespace, folder: Path, collector: str) -> int:
    """Open every variant, run the rounds, print the report, and return the exit code."""
    report = Report("stack_cost", conditions(rounds=options.rounds, requests=options.requests, seed=options.seed))
    async with AsyncExitStack() as stack:
        variants = chosen([INSTRUMENTED.name, *options.variant], collector=collector)
        subjects = [await stack.enter_async_context(opened(each, folder / each.name)) for each in variants]
        connections = {each.variant.name: Connections(each.app, count=CONNECTIONS) for each in subjects}
        bench = Bench(subjects, connections, options.requests)
        try:
            await run(bench, options)
        except AssertionError as error:
            report.faults.append(str(error))
        finally:
            for each in connections.values():
                each.close()
    if not report.faults:
        report.figures += bench.figures()
        for subject in subjects:
            if subject.variant.shortener:
                cost = subject.background * _MICROSECONDS
                report.figures.append(Figure.single(f"{subject.variant.name}.background", "us", cost))
    return report.emit()


async def run(bench: Bench, options: argparse.Namespace) -> None:
    """Warm up, then measure; raises `AssertionError` for a wrong answer or count."""
    for subject in bench.subjects:
        await subject.check()
        await drive(subject.app, subject.path, FEW, requests=WARM_UP)
        _, sent = await bench.connections[subject.variant.name].drive(subject.path, FEW, requests=WARM_UP)
        subject.driven += WARM_UP + sent
        await subject.settle()
        subject.restart()
    gc.collect()
    gc.freeze()  # as in service
    order = random.Random(options.seed)
    for number in range(options.rounds):
        await bench.round(order)
        progress(
            f"round {number + 1} of {options.rounds}: "
            + ", ".join(
                f"{name} {values[-1]:.2f}" for name, values in bench.series.items() if name.startswith("calls.3")
            )
        )
    for subject in bench.subjects:
        await subject.check()
        await subject.settle()
        if options.profile and subject.variant.shortener:
            progress(await profiled(subject, requests=options.requests))


async def profiled(subject: Subject, *, requests: int) -> str:
    """Return where the time of `requests` redirects goes, dearest functions first."""
    profile = cProfile.Profile()
    profile.enable()
    await drive(subject.app, subject.path, FEW, requests=requests)
    profile.disable()
    subject.driven += requests
    text = io.StringIO()
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(25)
    return text.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code is 0 when every bar holds."""
    parser = argparse.ArgumentParser(
        prog="loadtests.stack_cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=10_000, help="requests of one variant in one block")
    parser.add_argument("--seed", type=int, default=1, help="of the order within the rounds")
    parser.add_argument(
        "--variant", action="append", default=[], help=f"measure this too; known: {', '.join(REDIRECTS)}"
    )
    parser.add_argument("--profile", action="store_true", help="show on stderr where ours spends its time")
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="astra-stack-cost-") as folder,
        collecting() as collector,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(measure(options, Path(folder), collector))


if __name__ == "__main__":
    sys.exit(main())
