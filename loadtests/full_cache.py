"""A full cache: bytes an entry, what replacing its entries adds, and the longest garbage collection.

Runs in a process of its own, so that the memory is the cache's. The application's modules are imported, the empty cache
is made and all is frozen, as in service: what is frozen is not traversed, and the tables of the cache are. Then it is
filled with entries made from links, each visited once (so that it is marked), then half as many further links take the
place of old ones. The longest of all full collections counts: those that the interpreter
starts by itself meanwhile, and ten that are asked for. Bytes an entry are the growth of the resident memory (Linux);
`counted` is the sum of `sys.getsizeof`, for comparison.
`thawed` is a full collection of the same cache were nothing frozen; `longest insertion` is a table that grows.

Bars: longest collection <= 25 ms at a million entries; memory after the replacements <= 1.1 of the full cache's.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import app.main
from app.links.cache import ClockCache
from app.links.entry import entry_of
from loadtests.figures import Figure, Report, at_most, progress
from loadtests.machine import conditions
from loadtests.many_links import link_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.links import Entry

__all__ = ["Collections", "main", "measure"]

COLLECTION_BAR = at_most(25)
GROWTH_BAR = at_most(1.1)
_MILLISECONDS = 1e3
_ASKED = 10


class Collections:
    """Times the full collections of this process while it is installed; a context manager."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.count = 0
        self._began = 0.0

    def __enter__(self) -> Collections:
        gc.callbacks.append(self._called)
        return self

    def __exit__(self, *exception: object) -> None:
        gc.callbacks.remove(self._called)

    def _called(self, phase: str, details: dict[str, Any]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        elif details["generation"] == 2:
            self.longest = max(self.longest, time.perf_counter() - self._began)
            self.count += 1


def measure(entries: int) -> list[Figure]:
    """Fill a cache of `entries` and measure it."""
    compose = app.main.compose  # what a worker has loaded
    cache: ClockCache[Entry] = ClockCache(entries)
    gc.collect()
    gc.freeze()
    before = resident()
    with Collections() as collections:
        stall = put_all(cache, 0, entries)
        full = resident() - before
        progress(f"{entries:,} entries in {full / 2**20:,.0f} MiB ({compose.__module__} loaded)")
        stall = max(stall, put_all(cache, entries, entries // 2))
        churned = resident() - before
        for _ in range(_ASKED):
            gc.collect()
    with Collections() as thawed:
        gc.unfreeze()
        gc.collect()
    return [
        Figure.single("bytes an entry", "bytes", full / entries),
        Figure.single("bytes an entry, counted", "bytes", counted(cache)),
        Figure.single("growth by replacement", "ratio", churned / full, GROWTH_BAR),
        Figure.single("longest collection", "ms", collections.longest * _MILLISECONDS, COLLECTION_BAR),
        Figure.single("longest collection, thawed", "ms", thawed.longest * _MILLISECONDS),
        Figure.single("full collections", "collections", collections.count),
        Figure.single("longest insertion", "ms", stall * _MILLISECONDS),
    ]


def put_all(cache: ClockCache[Entry], first: int, count: int) -> float:
    """Put `count` entries and mark each; returns the seconds of the longest insertion (a table grows in one go)."""
    longest = 0.0
    for number in range(first, first + count):
        code = f"{number:07x}"
        entry = entry_of(link_of(code, number), remaining=None, filled_at=time.monotonic())
        path = "/" + code
        began = time.perf_counter()
        cache.put(path, entry)
        cache.mark(path)
        longest = max(longest, time.perf_counter() - began)
    return longest


def counted(cache: ClockCache[Entry]) -> float:
    """Return the bytes an entry by `sys.getsizeof`: its key, its struct, the objects it alone holds, and the tables."""
    path = f"/{len(cache):07x}"
    entry = cache.look_up(path)
    if entry is None:
        raise AssertionError(f"{path} is not in the cache")
    own = (entry.location, entry.code, entry.starts_at, entry.filled_at)
    tables = (value for value in vars(cache).values() if hasattr(value, "__len__"))
    return sum(map(sys.getsizeof, (path, entry, *own))) + sum(map(sys.getsizeof, tables)) / len(cache)


def resident() -> int:
    """Return the bytes of memory that this process holds (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code is 0 when every bar holds."""
    parser = argparse.ArgumentParser(
        prog="loadtests.full_cache", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=1_000_000)
    options = parser.parse_args(arguments)
    return Report("full_cache", conditions(entries=options.entries), measure(options.entries)).emit()


if __name__ == "__main__":
    sys.exit(main())
