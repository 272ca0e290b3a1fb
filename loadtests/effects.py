"""How long a change of a link that one worker acknowledged takes to show on another worker's redirect."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtests.connection import Connection
from loadtests.servers import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loadtests.servers import Server

__all__ = ["CHANGES", "POLL", "times_to_effect"]

CHANGES = ("creation", "edit", "disable", "enable", "delete")
POLL = 0.002
"""Seconds between two looks at the other worker: the resolution of the times."""

_DEADLINE = 10.0
_PAUSE = 0.2
"""Most seconds before a change: without a pause each would begin just after a look of the worker at the changes."""
_PATCH = {"content-type": "application/merge-patch+json"}
_GONE = (410, None)


@dataclass(slots=True)
class _Probe:
    """Changes links through `writer` and watches for it on `reader`."""

    writer: Connection
    reader: Connection
    times: Mapping[str, list[float]]
    pauses: random.Random

    async def life_of(self, code: str) -> None:
        """Take one link through every change. The reader has an answer in its cache before each, be it a 404."""
        first, second = f"https://example.com/{code}/first", f"https://example.com/{code}/second"
        link = f"/v1/links/{code}"
        await self._expect(code, (404, None))
        await self._change("creation", "POST", "/v1/links", {"url": first, "code": code}, code, (302, first))
        await self._change("edit", "PATCH", link, {"url": second}, code, (302, second))
        await self._change("disable", "POST", f"{link}/disable", None, code, _GONE)
        await self._change("enable", "POST", f"{link}/enable", None, code, (302, second))
        await self._change("delete", "DELETE", link, None, code, _GONE)

    async def _change(
        self, name: str, method: str, path: str, payload: object, code: str, wanted: tuple[int, str | None]
    ) -> None:
        await asyncio.sleep(self.pauses.uniform(0, _PAUSE))
        headers = _PATCH if method == "PATCH" else {}
        answer = await self.writer.request(method, path, payload, headers=headers)
        acknowledged = time.monotonic()
        if answer.status not in {200, 201, 204}:
            raise AssertionError(f"{method} {path} answered {answer.status}: {answer.body[:200]!r}")
        while (found := await self._look(code)) != wanted:
            if time.monotonic() > acknowledged + _DEADLINE:
                raise AssertionError(f"the {name} of {code} did not show within {_DEADLINE:g} s: still {found}")
            await asyncio.sleep(POLL)
        self.times[name].append(time.monotonic() - acknowledged)

    async def _look(self, code: str) -> tuple[int, str | None]:
        answer = await self.reader.request("GET", f"/{code}")
        return answer.status, answer.headers.get("location")

    async def _expect(self, code: str, wanted: tuple[int, str | None]) -> None:
        found = await self._look(code)
        if found != wanted:
            raise AssertionError(f"/{code} answered {found}, not {wanted}")


async def times_to_effect(
    writer: Server, reader: Server, *, links: int, probes: int, seed: int
) -> dict[str, list[float]]:
    """Take `links` links through every change, `probes` at a time; returns the seconds by change, from acknowledgement.

    Raises `AssertionError` for a change that is refused or does not show.
    """
    times: dict[str, list[float]] = {change: [] for change in CHANGES}
    pauses = random.Random(seed)
    codes = (f"probe-{number:06d}" for number in range(links))
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for _ in range(probes):
            changing = await stack.enter_async_context(Connection(HOST, writer.port))
            watching = await stack.enter_async_context(Connection(HOST, reader.port))
            group.create_task(_probe_all(_Probe(changing, watching, times, pauses), codes))
    return times


async def _probe_all(probe: _Probe, codes: Iterator[str]) -> None:
    for code in codes:
        await probe.life_of(code)
