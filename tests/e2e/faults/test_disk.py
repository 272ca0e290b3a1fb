"""A disk that takes no more writes: creations are refused, known links redirect, and all is well when it relents."""

from __future__ import annotations

import collections
import signal
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.faults.client import Connection
from tests.e2e.faults.disks import DISKS
from tests.e2e.faults.servers import FULL, Data, figures, serve, until
from tests.e2e.faults.traffic import each

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Launcher, Process
    from tests.e2e.faults.client import Answer

LINKS = 50
CLICKS = 20_000 if FULL else 8_000
"""Redirects while the disk refuses: more than two segments of 64 KiB hold, which are 6,200."""
MARGIN = 2.0
"""Seconds within which the journal tries again, and the machine may be slow."""
TRIES = 6_000
"""Creations after which one must have been refused: a write-ahead log that was emptied still takes some."""


class Books:
    """What was acknowledged and what was refused."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.links: dict[str, str] = {}
        self.refused: list[str] = []
        self.clicks: dict[str, int] = {}
        self._number = 0

    async def create(self, *, count: int, refusals: int = 0) -> None:
        """Create up to `count` links, until so many `refusals` were met."""

        async def one(connection: Connection, url: str) -> None:
            if refusals and len(self.refused) >= refusals:
                return
            answer = await connection.post("/v1/links", {"url": url}, idempotency_key=url)
            if answer.status == 201:
                self.links[answer.json()["code"]] = url
            else:
                is_refusal(answer)
                self.refused.append(url)

        urls = [f"https://example.com/{self._number + number}" for number in range(count)]
        self._number += count
        await each(self.port, urls, one)

    async def follow(self, codes: list[str]) -> None:
        """Follow links; each must redirect."""

        async def one(connection: Connection, code: str) -> None:
            answer = await connection.get(f"/{code}")
            assert (answer.status, answer.headers.get("location")) == (302, self.links[code])
            self.clicks[code] = self.clicks.get(code, 0) + 1

        await each(self.port, codes, one)

    async def repeat(self) -> None:
        """Repeat every refused creation under its key."""

        async def one(connection: Connection, url: str) -> None:
            answer = await connection.post("/v1/links", {"url": url}, idempotency_key=url)
            assert answer.status == 201
            self.links[answer.json()["code"]] = url

        await each(self.port, self.refused, one)
        self.refused.clear()


def is_refusal(answer: Answer) -> None:
    """Check that it is a 503 as promised."""
    assert answer.status == 503, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    problem = answer.json()
    assert problem["status"] == 503
    assert {"type", "title", "detail", "instance", "request_id"} <= problem.keys()


def check_stored(data: Data, books: Books) -> None:
    """What is stored is what was acknowledged, no more and no less, in a database that is whole."""
    assert data.is_whole()
    assert {code: link["url"] for code, link in data.links().items()} == books.links
    keys = {key for (key,) in data.rows("SELECT key FROM r_idempotency")}
    assert len(keys) == len(books.links)


async def change(port: int, code: str) -> None:
    """Whatever changes a link is refused as well."""
    async with Connection(port) as connection:
        is_refusal(await connection.request("PATCH", f"/v1/links/{code}", {"title": "new"}))
        is_refusal(await connection.post(f"/v1/links/{code}/disable", {}))
        is_refusal(await connection.request("DELETE", f"/v1/links/{code}"))
        answer = await connection.post("/v1/links/batch", {"links": [{"url": "https://example.com/batch"}]})
        is_refusal(answer)
        answer = await connection.get(f"/v1/links/{code}")
        assert (answer.status, answer.json()["title"]) == (200, None)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", DISKS)
async def test_a_disk_that_takes_no_writes(launch: Launcher, tmp_path: Path, kind: str) -> None:
    """Creations get their 503, links redirect whether cached or not, clicks without room are counted as dropped."""
    with closing(DISKS[kind](tmp_path)) as disk:
        data = Data(disk.folder)
        settings = {"CLICKS__SEGMENT_SIZE": "64KiB", "CLICKS__QUOTA": "1MiB"}
        process = serve(launch, data, settings=settings)
        books = Books(process.port or 0)
        await books.create(count=LINKS)
        codes = list(books.links)
        await books.follow(codes[: LINKS // 2])
        await until("counted", lambda: counts(data, sum(books.clicks.values())))

        disk.refuse([process.popen.pid])
        await books.create(count=TRIES, refusals=32)
        assert len(books.refused) >= 32
        await books.follow([codes[number % LINKS] for number in range(CLICKS)])
        await until("tried again and again", partial(has_failed, books.port, times=6))
        clicks = await figures(books.port, "clicks")
        await change(books.port, codes[0])
        assert clicks["recorded"] + clicks["dropped"] == sum(books.clicks.values())
        assert clicks["dropped"] > 0
        assert not clicks["ok"]
        print(f"{kind}: {len(books.links)} created, {len(books.refused)} refused, {CLICKS} redirects, {clicks}")

        if disk.relents:
            pause = (await writes_breaker(books.port))["open_seconds"]
            assert pause > 0
            disk.relent()
            took = await until("room again", lambda: has_room(books.port))
            print(f"{kind}: links taken {took:.2f} s after the disk was, the breaker's pause was {pause:.2f} s")
            assert took < 2 * pause + MARGIN
        else:
            stop(process)
            disk.relent()
            process = serve(launch, data, settings=settings)
            books.port = process.port or 0
        after = await figures(books.port, "clicks")
        check_stored(data, books)
        await books.repeat()
        await books.create(count=LINKS)
        assert books.refused == []
        await books.follow(codes)
        dropped = (await figures(books.port, "clicks"))["dropped"]
        assert dropped == after["dropped"]
        if disk.relents:
            await until("counted", lambda: counts(data, sum(books.clicks.values()) - dropped))
        stop(process)
        check_stored(data, books)
        assert data.segments() == []
        visits = data.visits()
        assert all(visits[code] <= clicked for code, clicked in books.clicks.items())
        assert sum(visits.values()) <= sum(books.clicks.values())


async def counts(data: Data, clicks: int) -> bool:
    """Whether exactly so many clicks are counted."""
    return sum(data.visits().values()) == clicks


async def has_failed(port: int, *, times: int) -> bool:
    """Whether counting failed so often."""
    return int((await figures(port, "clicks"))["failures"]) >= times


async def has_room(port: int) -> bool:
    """Whether clicks are taken again, and links, each of them: the breaker has closed."""
    clicks = await figures(port, "clicks")
    return bool(clicks["ok"]) and (await writes_breaker(port))["state"] == "closed"


async def writes_breaker(port: int) -> dict[str, Any]:
    """What `/readyz` says of the breaker of commits."""
    breaker: dict[str, Any] = (await figures(port, "store"))["breakers"]["store writes"]
    return breaker


def stop(process: Process) -> None:
    """End it in order; it did not complain of the same thing again and again, nor with a traceback."""
    process.signal(signal.SIGTERM)
    process.code()
    assert "Traceback" not in process.stderr
    assert "lifespan" not in process.stderr  # uvicorn's words for an end that failed
    complaints = [line for line in process.stderr.splitlines() if not line.startswith("INFO")]
    assert max(collections.Counter(complaints).values(), default=0) <= 2, process.stderr
