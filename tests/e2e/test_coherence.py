"""Two servers on one store: what is changed through one shows on the other, and creations cost its cache nothing."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.faults.client import Connection
from tests.e2e.faults.servers import FULL, Data, figures, seeded, serve, until
from tests.e2e.faults.traffic import each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.e2e.conftest import Launcher
    from tests.e2e.faults.client import Answer

LINKS = 200 if FULL else 15
RATE = 500 if FULL else 100  # creations a second of other links, half through each server
VISITED, VISITS = (4_000, 20_000) if FULL else (800, 10_000)
PROMISE = 1.0  # seconds until a change shows on every worker
POINTS = 1.0


@asynccontextmanager
async def creations(ports: tuple[int, int], *, rate: float) -> AsyncIterator[list[int]]:
    """Create other links meanwhile; yields the statuses that were answered."""
    numbers, statuses, began = itertools.count(), list[int](), time.monotonic()

    async def create(port: int) -> None:
        async with Connection(port) as connection:
            while True:
                number = next(numbers)
                await asyncio.sleep(began + number / rate - time.monotonic())
                answer = await connection.post("/v1/links", {"url": f"https://example.com/beside/{number}"})
                statuses.append(answer.status)

    tasks = [asyncio.create_task(create(port)) for port in ports * 4] if rate else []
    try:
        yield statuses
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def shows(reader: Connection, path: str, there: Callable[[Answer], bool]) -> float:
    """Return the seconds until the redirect of `path` answers so; fails when the promise is over."""
    began = time.monotonic()
    while True:
        asked = time.monotonic()
        answer = await reader.get(path)
        if there(answer):
            return time.monotonic() - began
        assert asked - began <= PROMISE, f"{path}: still {answer} after {asked - began:.3f} s"
        await asyncio.sleep(0.002)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_change_shows_on_the_other_server_within_a_second(launch: Launcher, tmp_path: Path) -> None:
    """Creation, edit, disabling, enabling and deletion through one, while other links are created through both."""
    data = Data(tmp_path)
    first, second = serve(launch, data), serve(launch, data)
    assert first.port is not None
    assert second.port is not None
    times: dict[str, list[float]] = {}
    async with (
        creations((first.port, second.port), rate=RATE) as beside,
        Connection(first.port) as writer,
        Connection(second.port) as reader,
    ):
        began = time.monotonic()
        for number in range(LINKS):
            code, url = f"probe-{number}", f"https://example.com/{number}"
            link, path = f"/v1/links/{code}", f"/{code}"

            async def expect(what: str, answer: Answer, there: Callable[[Answer], bool], path: str = path) -> None:
                assert answer.status in {200, 201, 204}, answer
                times.setdefault(what, []).append(await shows(reader, path, there))

            def to(target: str) -> Callable[[Answer], bool]:
                return lambda answer: (answer.status, answer.headers.get("location")) == (302, target)

            def gone(answer: Answer) -> bool:
                return answer.status == 410

            assert (await reader.get(path)).status == 404  # now remembered as unknown
            await expect("create", await writer.post("/v1/links", {"url": url, "code": code}), to(url))
            edit = await writer.request("PATCH", link, {"url": url + "/new"})
            await expect("edit", edit, to(url + "/new"))
            await expect("disable", await writer.request("POST", link + "/disable"), gone)
            await expect("enable", await writer.request("POST", link + "/enable"), to(url + "/new"))
            await expect("delete", await writer.request("DELETE", link), gone)
        rate = len(beside) / (time.monotonic() - began)
    assert set(beside) == {201}
    for what, found in times.items():
        ranked = sorted(found)
        middle, high = statistics.median(ranked), ranked[int(0.99 * (len(ranked) - 1))]
        print(f"{what}: p50 {middle * 1e3:.0f}, p99 {high * 1e3:.0f}, max {ranked[-1] * 1e3:.0f} ms of {len(ranked)}")
    print(f"beside: {rate:.0f} creations/s")
    assert rate > 0.5 * RATE


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_creations_do_not_cost_the_cache_its_hits(launch: Launcher, tmp_path: Path) -> None:
    """The same visits hit as often, within a percentage point, with other links created beside them and without."""
    chance = seeded("hit ratio")
    weights = [1 / (rank + 1) for rank in range(VISITED)]
    visits = chance.choices(range(VISITED), weights, k=VISITS)
    ratios = {}
    for rate in (0, RATE):
        data = Data(tmp_path / f"rate-{rate}")
        data.folder.mkdir()
        settings = {"CACHE__ENTRIES": str(VISITED // 4)}
        first, second = serve(launch, data, settings=settings), serve(launch, data, settings=settings)
        assert first.port is not None
        assert second.port is not None
        codes = await made(first.port)
        async with creations((first.port, second.port), rate=rate):
            before = await figures(second.port, "cache")
            await each(second.port, [codes[visit] for visit in visits], follow)
            after = await figures(second.port, "cache")
        hits, misses = after["hits"] - before["hits"], after["misses"] - before["misses"]
        assert hits + misses == VISITS
        ratios[rate] = 100 * hits / VISITS
        first.close()
        second.close()
    print(", ".join(f"{ratio:.2f} % at {rate} creations/s" for rate, ratio in ratios.items()))
    assert 20 < ratios[0] < 95
    assert abs(ratios[0] - ratios[RATE]) <= POINTS


async def follow(connection: Connection, code: str) -> None:
    """One visit."""
    assert (await connection.get("/" + code)).status == 302


async def made(port: int) -> list[str]:
    """Create the links to visit."""
    async with Connection(port) as connection:
        codes = list[str]()
        for start in range(0, VISITED, 400):
            links = [{"url": f"https://example.com/v/{number}"} for number in range(start, start + 400)]
            answer = await connection.post("/v1/links/batch", {"links": links})
            codes += [result["link"]["code"] for result in answer.json()["results"]]
        return codes


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_limit_holds_under_concurrent_visits_of_both_servers(launch: Launcher, tmp_path: Path) -> None:
    """64 clients on two servers get exactly as many redirects as the link allows, each counted, the end told once."""
    data, codes = Data(tmp_path), list[str]()
    first, second = serve(launch, data), serve(launch, data)
    ports = (first.port or 0, second.port or 0)
    for round_, limit in enumerate([1, 3, 17, 63, 64, 200] * (20 if FULL else 1)):
        async with Connection(ports[0]) as connection:
            link = {"url": "https://example.com/limited", "max_visits": limit}
            code = (await connection.post("/v1/links", link)).json()["code"]
        start = asyncio.Event()

        async def client(port: int, code: str = code, limit: int = limit, start: asyncio.Event = start) -> list[int]:
            async with Connection(port) as connection:
                assert (await connection.request("HEAD", "/" + code)).status in {302, 410}
                await start.wait()
                return [(await connection.get("/" + code)).status for _ in range(2 + limit // 32)]

        clients = [asyncio.create_task(client(port)) for port in ports * 32]
        await asyncio.sleep(0.05)
        start.set()
        statuses = [status for found in await asyncio.gather(*clients) for status in found]
        assert set(statuses) <= {302, 410}
        assert statuses.count(302) == limit, f"round {round_}: {statuses.count(302)} redirects of {limit}"
        await until("counted", partial(is_counted, data, code, limit))
        codes.append(code)
    for code in codes:
        await until("told", partial(is_told, ports[1], code))
    await asyncio.sleep(1.5)  # a further look of whoever leads
    for code in codes:
        assert await is_told(ports[0], code), code


async def is_told(port: int, code: str) -> bool:
    """Whether the history tells that the link is used up; telling anything else, or twice, fails."""
    async with Connection(port) as connection:
        items = (await connection.get(f"/v1/links/{code}/history")).json()["items"]
    told = [(entry["event"], entry["by"], entry["state"]) for entry in items]
    assert told in ([("made", "anonymous", "active")], [*told[:1], ("exhausted", "limit", "exhausted")]), told
    return len(told) == 2


async def is_counted(data: Data, code: str, visits: int) -> bool:
    """Whether so many visits of a code are counted, and no more."""
    return data.visits().get(code, 0) == visits
