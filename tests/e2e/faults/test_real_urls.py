"""Real URLs, created over HTTP: each redirect carries the href that a second, independent WHATWG parser gives.

`ASTRA_TEST_URLS` names a file of URLs, one a line, gzipped or not.
"""

from __future__ import annotations

import collections
import gzip
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic_core import Url, ValidationError

from tests.e2e.faults.servers import FULL, Data, serve
from tests.e2e.faults.traffic import each

if TYPE_CHECKING:
    from tests.e2e.conftest import Launcher
    from tests.e2e.faults.client import Connection

SAMPLE = 2_000
SINGLE = 5
"""One in so many is created by a request of its own, the others in batches."""
BATCH = 500
RULES = ("must hold no control characters", "must hold no user name or password", "must be at most")
"""How the refusals begin that are rules of ours beyond the standard's."""


def urls() -> list[str]:
    """Read the file, all of it or evenly spread over it."""
    name = os.environ.get("ASTRA_TEST_URLS")
    if not name:
        pytest.skip("ASTRA_TEST_URLS names no file of URLs")
    content = Path(name).read_bytes()
    if name.endswith(".gz"):
        content = gzip.decompress(content)
    lines = content.decode().splitlines()
    return lines if FULL else lines[:: max(1, len(lines) // SAMPLE)]


def href(url: str) -> str | None:
    """What the other parser makes of it; None when it refuses."""
    try:
        return str(Url(url))
    except ValidationError:
        return None


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_each_redirect_carries_the_href_of_another_parser(launch: Launcher, tmp_path: Path) -> None:
    """None is refused that the other parser takes but for a named rule; each `Location` is its href, byte for byte."""
    given = urls()
    process = serve(launch, Data(tmp_path))
    codes: dict[str, str] = {}
    refused: dict[str, str] = {}

    def note(url: str, status: int, body: Any) -> None:
        if status == 201:
            assert codes.setdefault(url, body["code"]) == body["code"]
        else:
            assert status == 422, body
            refused[url] = " ".join(error["detail"] for error in body["errors"])

    async def single(connection: Connection, url: str) -> None:
        answer = await connection.post("/v1/links", {"url": url})
        note(url, answer.status, answer.json())

    async def batch(connection: Connection, some: list[str]) -> None:
        answer = await connection.post("/v1/links/batch", {"links": [{"url": url} for url in some]})
        assert answer.status == 200
        for url, result in zip(some, answer.json()["results"], strict=True):
            note(url, result["status"], result.get("link") or result.get("problem"))

    distinct = list(dict.fromkeys(given))
    alone = distinct[::SINGLE]
    rest = [url for number, url in enumerate(distinct) if number % SINGLE]
    port = process.port or 0
    await each(port, alone, single)
    await each(port, [rest[start : start + BATCH] for start in range(0, len(rest), BATCH)], batch)
    assert codes.keys() | refused.keys() == set(distinct)

    apart: list[tuple[str, str | None, str]] = []

    async def follow(connection: Connection, url: str) -> None:
        answer = await connection.get(f"/{codes[url]}")
        assert answer.status == 302
        location = answer.headers["location"]
        assert location.isascii()
        if location != href(url):
            apart.append((url, href(url), location))

    await each(port, list(codes), follow)
    reasons = collections.Counter(refused.values())
    print(f"{len(distinct)} URLs: {len(alone)} single, {len(rest)} in batches; {len(codes)} created and followed,")
    print(f"{len(refused)} refused: {dict(reasons)}; {len(apart)} apart from the other parser", file=sys.stdout)
    for url, reason in list(refused.items())[:20]:
        print(f"  refused {url!r}: {reason}")
    for one in apart[:20]:
        print(f"  apart {one}")
    assert apart == []
    unjust = {url: why for url, why in refused.items() if href(url) is not None and not why.startswith(RULES)}
    assert unjust == {}
    assert len(refused) < len(distinct) / 1000
