"""One million links: what they do to an uncached look-up and to start-up. For the cache's memory see `full_cache`.

Two stores are filled through the store's port, of a thousand links and of a million. `resolve`: codes drawn at random,
none of them cached, resolved one after the other in blocks that take turns between the stores; microseconds a look-up,
the ratio within each round. `start-up`: seconds from starting a uvicorn worker until it says that it serves, on an
empty store (one that a worker ran on before) and on the million, alternated; `lifespan` is the application's own part
of it, in this process. `--keep` names a folder to fill once and use again.

Bars: resolve, million/thousand <= 2; start-up, million/empty <= 1.1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from app.codes import CodeFactory
from app.links import LinkRepository, Resolver
from app.main import compose
from astra_core.clock import SystemClock
from astra_core.config import as_loaded
from loadtests.driving import Stopwatch
from loadtests.figures import Figure, Report, at_most, progress
from loadtests.lifespan import lifespan
from loadtests.machine import conditions
from loadtests.many_links import Links, fill, opened_store, settings_of
from loadtests.ratios import paired, quartiles
from loadtests.servers import start
from loadtests.variants import OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.storage import StoreEngine

__all__ = ["main"]

FEW = 1_000
RESOLVE_BAR = at_most(2)
START_BAR = at_most(1.1)
_MICROSECONDS = 1e6
_MILLISECONDS = 1e3


@dataclass(slots=True)
class Side:
    """A store under test, and what was measured on it."""

    name: str
    resolver: Resolver
    codes: list[str]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @classmethod
    async def of(cls, name: str, store: StoreEngine, links: Links) -> Side:
        """Put a resolver that keeps nothing on `store`."""
        codes = CodeFactory(store)
        await codes.open()
        repository = LinkRepository(store, keys=codes)
        resolver = Resolver(repository, clock=SystemClock(), capacity=0, negative_capacity=0, ttl=5.0)
        return cls(name, resolver, links.codes)

    async def block(self, draw: random.Random, lookups: int) -> None:
        """Resolve that many codes; raises `AssertionError` for one that is not found."""
        paths = [f"/{code}" for code in draw.choices(self.codes, k=lookups)]
        resolve, unknown = self.resolver.resolve, 0
        watch = Stopwatch()
        for path in paths:
            if await resolve(path) is None:
                unknown += 1
        watch.stop()
        if unknown:
            raise AssertionError(f"{self.name}: {unknown} of {lookups} links were not found")
        self.wall.append(watch.wall / lookups * _MICROSECONDS)
        self.cpu.append(watch.cpu / lookups * _MICROSECONDS)


async def filled(folder: Path, count: int, *, seed: int) -> Links:
    """Return the links of the store in `folder`, made now or in an earlier run."""
    note = folder / "links.json"
    if note.exists():
        links = Links(**json.loads(note.read_text(encoding="utf-8")))
        if links.count == count:
            return links
        raise AssertionError(f"{folder} holds {links.count} links, not {count}")
    folder.mkdir(parents=True)  # noqa: ASYNC240
    links = await fill(settings_of(OURS, folder), count, seed=seed)
    note.write_text(json.dumps(asdict(links)), encoding="utf-8")
    return links


async def resolve(folders: dict[str, Path], links: dict[str, Links], options: argparse.Namespace) -> list[Figure]:
    """Measure uncached look-ups; raises `AssertionError` for a link that is not found."""
    draw = random.Random(options.seed)
    async with AsyncExitStack() as stack:
        sides: list[Side] = []
        for name in ("thousand", "million"):
            store = await stack.enter_async_context(opened_store(settings_of(OURS, folders[name])))
            sides.append(await Side.of(name, store, links[name]))
        for side in sides:
            await side.block(draw, options.lookups)  # the first block warms up
            side.wall.clear()
            side.cpu.clear()
        for _ in range(options.rounds):
            for side in draw.sample(sides, 2):
                await side.block(draw, options.lookups)
    few, many = sides
    figures = [Figure(f"resolve.{side.name}", "us", quartiles(side.wall)) for side in sides]
    figures.append(Figure("resolve million/thousand", "ratio", paired(many.wall, few.wall), RESOLVE_BAR))
    return [*figures, Figure("resolve million/thousand, processor time", "ratio", paired(many.cpu, few.cpu))]


def start_up(folders: dict[str, Path], options: argparse.Namespace) -> list[Figure]:
    """Measure how long a worker takes to serve."""
    found: dict[str, list[float]] = {"empty": [], "million": []}
    order = random.Random(options.seed)
    for number in range(-1, options.starts):  # the first pair makes the empty store and warms up
        for name in order.sample(sorted(found), 2):
            folder = folders[name]
            server = start(OURS, environ=OURS.environ(folder), log=folder / "server.log")
            server.stop()
            if number >= 0:
                found[name].append(server.start_up * _MILLISECONDS)
    progress(f"started {2 * options.starts} workers")
    return [
        *(Figure(f"start-up.{name}", "ms", quartiles(values)) for name, values in found.items()),
        Figure("start-up million/empty", "ratio", paired(found["million"], found["empty"]), START_BAR),
    ]


async def lifespans(folders: dict[str, Path], options: argparse.Namespace) -> list[Figure]:
    """Measure the application's own start-up in this process: everything between settings and readiness."""
    found: dict[str, list[float]] = {"empty": [], "million": []}
    order = random.Random(options.seed)
    for _ in range(options.starts):
        for name in order.sample(sorted(found), 2):
            settings = settings_of(OURS, folders[name])
            began = time.perf_counter()
            async with lifespan(compose(as_loaded(settings))):
                found[name].append((time.perf_counter() - began) * _MILLISECONDS)
    return [
        *(Figure(f"lifespan.{name}", "ms", quartiles(values)) for name, values in found.items()),
        Figure("lifespan million/empty", "ratio", paired(found["million"], found["empty"])),
    ]


def measure(options: argparse.Namespace, folder: Path) -> int:
    """Fill the stores, measure, print the report, and return the exit code."""
    chosen = {name: getattr(options, name) for name in ("links", "rounds", "lookups", "starts", "seed")}
    report = Report("million", conditions(**chosen))
    folders = {name: folder / name for name in ("empty", "thousand", "million")}
    counts = {"thousand": FEW, "million": options.links}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            links = {name: runner.run(filled(folders[name], n, seed=options.seed)) for name, n in counts.items()}
            report.figures += runner.run(resolve(folders, links, options))
            report.figures += start_up(folders, options)
            report.figures += runner.run(lifespans(folders, options))
        except AssertionError as error:
            report.faults.append(str(error))
    return report.emit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code is 0 when every bar holds."""
    parser = argparse.ArgumentParser(
        prog="loadtests.million", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--links", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=31, help="blocks of look-ups on each store")
    parser.add_argument("--lookups", type=int, default=1_000, help="look-ups in a block")
    parser.add_argument("--starts", type=int, default=15, help="workers started on each store")
    parser.add_argument("--keep", type=Path, help="folder for the stores; one that is filled is used again")
    parser.add_argument("--seed", type=int, default=1, help="of the codes drawn and of the order")
    options = parser.parse_args(arguments)
    if options.keep is not None:
        return measure(options, options.keep)
    with tempfile.TemporaryDirectory(prefix="astra-million-") as folder:
        return measure(options, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
