"""Two workers on one store: how soon a change made through one shows on the other, and what creations cost its cache.

Times: each of some hundred links is created, edited, disabled, enabled and deleted through one worker, and after each
acknowledgement the other worker's redirect is looked at every 2 ms until it shows; it had another answer in its cache
before. Meanwhile other links are created at a set rate, half through each worker. Milliseconds from acknowledgement.

Hit ratio: visits of a Zipf distribution (the same sequence each time) over more links than the cache holds, once with
the creations beside them and once without, each on fresh workers, alternated. Percentage points between the medians.

Bars: every time <= 1000 ms; the hit ratio within 1 percentage point.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import random
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from loadtests.effects import CHANGES, POLL, times_to_effect
from loadtests.figures import Figure, Report, at_most, progress
from loadtests.hit_ratio import Visits, hit_ratio, make_links
from loadtests.machine import conditions
from loadtests.paced import Creations, creating
from loadtests.ratios import percentile, quartiles
from loadtests.servers import Server, serving, start
from loadtests.variants import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["main"]

TIME_BAR = at_most(1000)
HIT_RATIO_BAR = at_most(1.0)
VISITED = 4_000
"""Links that are visited; the cache holds a quarter of them."""
CACHE = {"ASTRA_CACHE__ENTRIES": str(VISITED // 4)}
_MILLISECONDS = 1e3


@contextmanager
def two_workers(folder: Path, settings: dict[str, str]) -> Iterator[tuple[Server, Server]]:
    """Serve one store and one journal from two processes."""
    variant = dataclasses.replace(OURS, settings=settings)
    with serving(variant, folder) as first:
        second = start(variant, environ=variant.environ(folder), log=folder / "second.log")
        try:
            yield first, second
        finally:
            second.stop()


async def effects(options: argparse.Namespace, folder: Path) -> tuple[list[Figure], Creations]:
    """Measure the times; raises `AssertionError` for a change that is refused or does not show."""
    with two_workers(folder, {}) as (writer, reader):
        async with creating((writer, reader), rate=options.creates) as made:
            times = await times_to_effect(writer, reader, links=options.links, probes=options.probes, seed=options.seed)
    figures = [Figure.single("creates beside", "links/s", made.rate)]
    for change in CHANGES:
        found = [seconds * _MILLISECONDS for seconds in times[change]]
        figures.append(Figure(f"{change}.p50", "ms", quartiles(found)))
        figures.append(Figure.single(f"{change}.p99", "ms", percentile(found, 0.99)))
        figures.append(Figure.single(f"{change}.longest", "ms", max(found), TIME_BAR))
    return figures, made


async def hit_ratios(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Measure the hit ratio with and without creations beside the visits, on fresh workers each time."""
    found: dict[str, list[float]] = {"with": [], "without": []}
    visits = Visits(warm_up=options.visits // 4, measured=options.visits, rate=options.rate, seed=options.seed)
    order = random.Random(options.seed)
    for number in range(options.pairs):
        for name in order.sample(sorted(found), 2):
            with two_workers(folder / f"{number}-{name}", CACHE) as (writer, reader):
                codes = await make_links(writer, VISITED)
                async with creating((writer, reader), rate=options.creates if name == "with" else 0) as made:
                    found[name].append(100 * await hit_ratio(reader, codes, visits))
            if made.refused:
                raise AssertionError(f"{made.refused} of the creations beside the visits were refused")
            progress(f"hit ratio {name} creations ({made.rate:.0f}/s): {found[name][-1]:.2f} %")
    sides = {name: quartiles(values) for name, values in found.items()}
    apart = abs(sides["with"].median - sides["without"].median)
    return [
        *(Figure(f"hit ratio {name} creations", "%", value) for name, value in sides.items()),
        Figure.single("hit ratio apart", "percentage points", apart, HIT_RATIO_BAR),
    ]


async def measure(options: argparse.Namespace, folder: Path) -> int:
    """Measure both, print the report, and return the exit code."""
    report = Report("coherence", conditions(**{**vars(options), "visited": VISITED, "resolution_ms": POLL * 1e3}))
    try:
        if options.links:
            figures, made = await effects(options, folder / "effects")
            report.figures += figures
            if made.refused:
                report.faults.append(f"{made.refused} of the creations beside were refused")
        if options.pairs:
            report.figures += await hit_ratios(options, folder / "hits")
    except* AssertionError as errors:
        report.faults += list(_texts(errors))
    return report.emit()


def _texts(errors: BaseExceptionGroup[AssertionError]) -> Iterator[str]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _texts(error)
        else:
            yield str(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code is 0 when every bar holds."""
    parser = argparse.ArgumentParser(
        prog="loadtests.coherence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--links", type=int, default=200, help="links taken through every change; 0 leaves it out")
    parser.add_argument("--probes", type=int, default=2, help="links under change at a time")
    parser.add_argument("--creates", type=float, default=500, help="other links created a second beside it")
    parser.add_argument("--pairs", type=int, default=3, help="runs for the hit ratio, each with and without; 0: none")
    parser.add_argument("--visits", type=int, default=8_000, help="visits measured in one of them")
    parser.add_argument("--rate", type=float, default=1_000, help="visits a second")
    parser.add_argument("--seed", type=int, default=1, help="of the visits and of the order")
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="astra-coherence-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(measure(options, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
