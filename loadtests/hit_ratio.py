"""The share of redirects that a worker answers from its cache, under visits as skewed as those of the web."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from loadtests.connection import Connection
from loadtests.paced import Pace
from loadtests.servers import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtests.servers import Server

__all__ = ["Visits", "hit_ratio", "make_links", "zipf"]

_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """What is visited: `warm_up` visits that are not measured, then `measured`, at `rate` a second together."""

    warm_up: int
    measured: int
    rate: float
    seed: int
    senders: int = 8


def zipf(count: int, *, draws: int, seed: int, exponent: float = 1.0) -> list[int]:
    """Return `draws` numbers below `count`, the k-th of them with a weight of k ** -exponent (G. K. Zipf, 1949)."""
    weights = list(accumulate((rank + 1) ** -exponent for rank in range(count)))
    return random.Random(seed).choices(range(count), cum_weights=weights, k=draws)


async def make_links(server: Server, count: int) -> list[str]:
    """Create `count` links in batches and return their codes; raises `AssertionError` when one is refused."""
    codes: list[str] = []
    async with Connection(HOST, server.port) as connection:
        for first in range(0, count, _BATCH):
            links = [{"url": f"https://example.com/visited/{n}"} for n in range(first, min(first + _BATCH, count))]
            answer = await connection.request("POST", "/v1/links/batch", {"links": links})
            if answer.status != 200:
                raise AssertionError(f"a batch answered {answer.status}: {answer.body[:200]!r}")
            codes += [result["link"]["code"] for result in answer.json()["results"]]
    return codes


async def hit_ratio(server: Server, codes: Sequence[str], visits: Visits) -> float:
    """Visit `codes`, and return hits / (hits + misses) of the measured visits, as `/readyz` counts them.

    Raises `AssertionError` for an answer other than a redirect.
    """
    sequence = [codes[number] for number in zipf(len(codes), draws=visits.warm_up + visits.measured, seed=visits.seed)]
    await _visit(server, sequence[: visits.warm_up], visits)
    before = await _counted(server)
    await _visit(server, sequence[visits.warm_up :], visits)
    after = await _counted(server)
    hits, misses = (late - early for late, early in zip(after, before, strict=True))
    return hits / (hits + misses)


async def _visit(server: Server, codes: Sequence[str], visits: Visits) -> None:
    pace, rest = Pace(visits.rate), iter(codes)
    async with asyncio.TaskGroup() as group:
        for _ in range(visits.senders):
            group.create_task(_sender(server, rest, pace))


async def _sender(server: Server, codes: Iterator[str], pace: Pace) -> None:
    async with Connection(HOST, server.port) as connection:
        for code in codes:
            await pace.turn()
            answer = await connection.request("GET", f"/{code}")
            if answer.status != 302:
                raise AssertionError(f"/{code} answered {answer.status}")


async def _counted(server: Server) -> tuple[int, int]:
    async with Connection(HOST, server.port) as connection:
        cache = (await connection.request("GET", "/readyz")).json()["dependencies"]["cache"]
        return cache["hits"], cache["misses"]
