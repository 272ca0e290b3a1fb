"""What time and visits do to links comes to stand in their histories, whichever process dies meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.keyed import BlockingPool
from astra_core.messaging import SqliteMessaging
from astra_core.workflow import Notice
from tests.e2e.faults.client import Connection
from tests.e2e.faults.servers import Data, serve, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Launcher, Process

NEVER = {"LINKS__RECORD_INTERVAL": "1h"}
SOON = {"LINKS__RECORD_INTERVAL": "50ms", "COORDINATION__TTL": "1s", "COORDINATION__DEADLINE": "300ms"}

pytestmark = pytest.mark.timeout(300)


def moment(seconds: float) -> str:
    """Return the time so many seconds from now, as the API writes it."""
    return datetime.fromtimestamp(int(time.time()) + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def history(process: Process, code: str) -> list[dict[str, Any]]:
    """Return all that happened to a link."""
    async with Connection(process.port or 0) as connection:
        items: list[dict[str, Any]] = (await connection.get(f"/v1/links/{code}/history")).json()["items"]
        return items


async def tells(process: Process, code: str, *events: str) -> bool:
    """Whether just these happened to it."""
    return [entry["event"] for entry in await history(process, code)] == list(events)


async def test_what_was_due_while_nobody_ran_is_recorded_at_its_moment(launch: Launcher, tmp_path: Path) -> None:
    """Killed before the start, begun again after the expiry: both are told, with their own times, and once."""
    data = Data(tmp_path)
    process = serve(launch, data)
    starts_at, expires_at = moment(2), moment(3)
    async with Connection(process.port or 0) as connection:
        link = {"url": "https://example.com/", "code": "timed", "starts_at": starts_at, "expires_at": expires_at}
        assert (await connection.post("/v1/links", link)).status == 201
        assert (await connection.get("/timed")).status == 404
    process.signal(signal.SIGKILL)
    await asyncio.sleep(4)
    again = serve(launch, data, workers=2, settings=SOON)
    await until("recorded", partial(tells, again, "timed", "made", "started", "expired"))
    _, started, expired = await history(again, "timed")
    assert (started["at"], expired["at"]) == (starts_at, expires_at)
    assert (started["by"], expired["by"]) == ("timer", "timer")


async def test_a_last_visit_is_told_by_whoever_comes_after(launch: Launcher, tmp_path: Path) -> None:
    """Taken by a process that is killed before it looked: the feed is in the commit of the visit."""
    data = Data(tmp_path)
    process = serve(launch, data, settings=NEVER)
    async with Connection(process.port or 0) as connection:
        for code in ("one", "two"):
            link = {"url": "https://example.com/", "code": code, "max_visits": 1}
            assert (await connection.post("/v1/links", link)).status == 201
            assert [(await connection.get(f"/{code}")).status for _ in range(2)] == [302, 410]
        assert await tells(process, "one", "made")
    process.signal(signal.SIGKILL)
    again = serve(launch, data, settings=SOON)
    for code in ("one", "two"):
        await until("told", partial(tells, again, code, "made", "exhausted"))


async def test_another_worker_takes_over_from_a_leader_that_is_killed(launch: Launcher, tmp_path: Path) -> None:
    """Within the lease's ttl or so; what is due meanwhile is not lost."""
    data = Data(tmp_path)
    first, second = serve(launch, data, settings=SOON), serve(launch, data, settings=SOON)
    await until("led", partial(leads, first, second))
    leader, other = (first, second) if await held(first) else (second, first)
    async with Connection(other.port or 0) as connection:
        link = {"url": "https://example.com/", "code": "timed", "expires_at": moment(2)}
        assert (await connection.post("/v1/links", link)).status == 201
    os.kill(leader.popen.pid, signal.SIGKILL)
    await until("recorded", partial(tells, other, "timed", "made", "expired"))
    assert await held(other)


async def test_events_are_published_whichever_process_is_killed(launch: Launcher, tmp_path: Path) -> None:
    """Of each acknowledged change one message, in order for each link, once a consumer has dropped what came twice."""
    data = Data(tmp_path)
    settings = {**SOON, "MESSAGING__URL": f"sqlite:{tmp_path / 'messages.db'}"}
    processes = [serve(launch, data, settings=settings) for _ in range(2)]
    await until("led", partial(leads, *processes))
    leader = processes[0] if await held(processes[0]) else processes[1]
    codes = [f"link-{number}" for number in range(60)]
    for number, code in enumerate(codes):
        process = next(one for one in processes if one is not leader)
        async with Connection(process.port or 0) as connection:
            assert (await connection.post("/v1/links", {"url": "https://example.com/", "code": code})).status == 201
            assert (await connection.request("POST", f"/v1/links/{code}/disable")).status == 200
        if number == 30:
            os.kill(leader.popen.pid, signal.SIGKILL)
    seen: dict[str, Notice] = {}
    pool = BlockingPool("reader", threads=1, queue=10)
    async with SqliteMessaging(tmp_path / "messages.db", writer=pool, readers=pool) as messaging:
        reader = messaging.consumer("links", group="test")

        async def all_read() -> bool:
            for message in await reader.receive(limit=200, wait=0.1):
                seen.setdefault(message.id, Notice.read(message.data))
                await reader.acknowledge(message)
            return len(seen) >= 2 * len(codes)

        await until("published", all_read)
    await pool.close()
    for code in codes:
        assert [notice.entry.event for notice in seen.values() if notice.key == code] == ["begin", "Disable"]
    assert len(seen) == 2 * len(codes)


async def held(process: Process) -> bool:
    """Whether it holds the lease."""
    async with Connection(process.port or 0) as connection:
        leader = (await connection.get("/readyz")).json()["dependencies"]["changes"]["leader"]
        return bool(leader["held"])


async def leads(*processes: Process) -> bool:
    """Whether just one of them does."""
    return [await held(process) for process in processes].count(True) == 1
