"""`kill -9` under writes and redirects: what was acknowledged is there, and every visit is counted once."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.faults.client import Connection
from tests.e2e.faults.servers import FULL, Data, figures, seeded, serve, until
from tests.e2e.faults.traffic import Ledger, Made, Traffic, each

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Launcher, Process

ROUNDS = 20 if FULL else 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_killed_group_loses_nothing(launch: Launcher, tmp_path: Path, workers: int) -> None:
    """Round by round on the same data: exact links, exact counts, limits kept, keys honoured, a whole database."""
    chance = seeded(f"kill {workers}")
    data, ledger = Data(tmp_path), Ledger()
    for number in range(ROUNDS):
        settings = {"CLICKS__SEGMENT_SIZE": chance.choice(["4MiB", "256KiB"])}
        process = serve(launch, data, workers=workers, settings=settings)
        traffic = asyncio.create_task(Traffic(ledger, process.port or 0, chance=chance).run())
        await asyncio.sleep(chance.uniform(0.2, 2.0))
        process.close()
        await traffic
        orphans = left_behind(data)
        assert data.is_whole()
        again = serve(launch, data, workers=workers, settings=settings)
        took = await until("adopted and counted", partial(counted, data, orphans))
        await check_links(again, ledger)
        check_counts(data, ledger)
        await check_keys(again, ledger)
        print(f"round {number}: {summary(ledger)}; {len(orphans)} orphans counted after {took:.2f} s")
        stop(again)
        assert data.segments() == []
    check_counts(data, ledger)
    check_stored(data, ledger)
    assert data.is_whole()
    assert len(ledger.links) > 20 * ROUNDS
    assert sum(made.answered for made in ledger.links.values()) > 100 * ROUNDS


def left_behind(data: Data) -> set[str]:
    """Return the orphans' names: segments, one that was only half-made among them, made to look old enough to go."""
    (data.journal / f"{'ab' * 16}.new").write_bytes(b"\0" * 1000)
    for path in data.journal.glob("*.new"):
        os.utime(path, (1, 1))
    return set(data.segments())


async def counted(data: Data, orphans: set[str]) -> bool:
    """Whether nothing is left of what the killed processes had in the journal."""
    return orphans.isdisjoint(data.segments())


async def check_links(process: Process, ledger: Ledger) -> None:
    """Every acknowledged link is there with its exact data."""

    async def check(connection: Connection, made: Made) -> None:
        answer = await connection.get(f"/v1/links/{made.code}")
        assert answer.status == 200, f"acknowledged and lost: {made.view}"
        view = answer.json()
        assert made.faults(view) == []
        made.titles, made.version, made.editing = [view["title"]], view["version"], False

    await each(process.port or 0, list(ledger.links.values()), check)
    assert ledger.wrong == []


def check_counts(data: Data, ledger: Ledger) -> None:
    """For every link answered <= counted <= sent, both equal when none was in flight; and limits were kept."""
    visits = data.visits()
    wrong: list[Any] = []
    for made in ledger.links.values():
        count = visits.get(made.code, 0)
        limit = made.view["max_visits"]
        if not made.answered <= count <= made.sent or (limit is not None and max(count, made.answered) > limit):
            wrong.append((made.code, made.answered, count, made.sent, limit))
    assert wrong == []
    assert visits.keys() <= ledger.links.keys()


async def check_keys(process: Process, ledger: Ledger) -> None:
    """A creation repeated under its key answers with the link that was acknowledged, or makes the one that was not."""
    async with Connection(process.port or 0) as connection:
        known = [keyed for keyed in ledger.keyed if keyed.code is not None]
        for keyed in [*known[-20:], *(keyed for keyed in ledger.keyed if keyed.code is None)]:
            answer = await connection.post("/v1/links", keyed.payload, idempotency_key=keyed.key)
            assert answer.status == 201
            view = answer.json()
            if keyed.code is None:
                ledger.add(view)
            assert keyed.code in {None, view["code"]}
            keyed.code = view["code"]
    assert ledger.wrong == []


def check_stored(data: Data, ledger: Ledger) -> None:
    """No creation became two links, none under a key became none, and nothing is there that nobody asked for."""
    urls = [link["url"] for link in data.links().values()]
    assert len(urls) == len(set(urls))
    assert {keyed.payload["url"] for keyed in ledger.keyed} <= set(urls)
    assert set(urls) <= ledger.asked


def stop(process: Process) -> None:
    """End it in order."""
    process.signal(signal.SIGTERM)
    process.code()
    assert "Traceback" not in process.stderr
    assert "ERROR" not in process.stderr


def summary(ledger: Ledger) -> str:
    """Return the figures so far."""
    links = ledger.links.values()
    sent, answered = sum(made.sent for made in links), sum(made.answered for made in links)
    quiet = sum(made.quiet for made in links)
    return f"{len(links)} links ({quiet} quiet), {answered} of {sent} redirects answered, {len(ledger.keyed)} keys"


@pytest.mark.timeout(300)
async def test_one_worker_of_two_is_killed(launch: Launcher, tmp_path: Path) -> None:
    """The rest serves on, the dead worker's segments are adopted and counted, and nothing acknowledged is gone."""
    chance = seeded("kill one")
    data, ledger = Data(tmp_path), Ledger()
    process = serve(launch, data, workers=2)
    port = process.port or 0
    victims = process.workers()
    assert len(victims) == 2
    settled = Traffic(ledger, port, chance=chance)
    running = asyncio.create_task(settled.run())
    await asyncio.sleep(1.0)
    segments = set(data.segments())
    victim = max(victims)
    os.kill(victim, signal.SIGKILL)
    await asyncio.sleep(0)
    before = sum(made.answered for made in ledger.links.values())
    fresh = Traffic(ledger, port, chance=chance, connections=8)  # as clients come back
    await asyncio.sleep(0.05)
    again = asyncio.create_task(fresh.run())
    await asyncio.sleep(1.0)
    settled.stop()
    fresh.stop()
    await asyncio.gather(running, again)
    assert ledger.wrong == []
    after = sum(made.answered for made in ledger.links.values())
    assert after > before + 50
    survivor = min(victims)
    assert survivor in process.workers()

    async def settled_counts() -> bool:
        visits = data.visits()
        return all(visits.get(made.code, 0) >= made.answered for made in ledger.links.values())

    async def orphans_gone() -> bool:
        return len(segments & set(data.segments())) <= 2  # the survivor's own

    took = await until("counted", settled_counts)
    await until("adopted", orphans_gone)
    check_counts(data, ledger)
    await check_links(process, ledger)
    print(f"worker {victim} killed: {summary(ledger)}; {after - before} redirects after it; counted {took:.2f} s later")
    assert (await figures(port, "clicks"))["dropped"] == 0
    stop(process)
    assert data.segments() == []
    assert data.is_whole()
