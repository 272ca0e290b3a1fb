"""A power cut: no acknowledged link is lost, and of the clicks no more than those of one sync interval."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.faults.client import Connection
from tests.e2e.faults.disks import LoopDisk
from tests.e2e.faults.power import Cut, ForgetfulPool, Service, beside, running
from tests.e2e.faults.servers import FULL, Data, seeded, serve, until
from tests.integration.sqlite.powercut import ForgetfulDisk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Launcher

INTERVAL = 1.0
SECONDS = 30.0 if FULL else 5.0
CUTS = 150 if FULL else 25
CUTS_OF_A_MACHINE = 20 if FULL else 3


async def cuts(folder: Path, *, synchronous: str, sync_interval: float, counting: bool) -> list[Cut]:
    """Create and click for a while, and return what a cut would have left at moments spread over it.

    What is counted lives on in the store, so only without `counting` it is the journal alone that keeps the clicks.
    """
    disk, pool = ForgetfulDisk(f"power-{synchronous}"), ForgetfulPool(folder / "journal")
    found: list[Cut] = []
    numbers = itertools.count()

    async def create(service: Service) -> None:
        while True:
            await service.create(f"https://example.com/{next(numbers)}", tags=["t"], title="a title")
            await asyncio.sleep(0.004)

    async def click(service: Service) -> None:
        while True:
            for code in list(service.links)[-20:]:
                service.click(code)
            await asyncio.sleep(0.005)

    def cut(service: Service) -> Cut:
        now = time.monotonic()
        before = sum(at <= now - INTERVAL for at in service.clicks)
        database = disk.cut(folder / "astra.db")
        return Cut(now, dict(service.links), len(service.clicks), before, database, dict(pool.durable))

    async with running(
        made(folder), disk=disk, pool=pool, synchronous=synchronous, sync_interval=sync_interval
    ) as service:
        works = [service.journal.keep(), create(service), create(service), click(service)]
        if counting:
            works.append(service.counter.run())
        async with beside(*works):
            for _ in range(CUTS):
                await asyncio.sleep(SECONDS / CUTS)
                found.append(cut(service))
    disk.unregister()
    return found


def made(folder: Path) -> Path:
    """Make the folder."""
    folder.mkdir()
    return folder


async def losses(cut: Cut, folder: Path) -> tuple[int, int]:
    """Start again from what a cut left: how many acknowledged links and clicks are gone."""
    async with running(cut.lay_out(folder)) as service:
        service.links = dict(cut.links)
        await service.counter.adopt()
        await service.counter.count()
        counted = await service.visits()
        assert counted <= cut.clicks, f"{counted} counted of {cut.clicks} clicks"
        gone = 0
        for code, link in cut.links.items():
            stored = await service.repository.get(code)
            gone += stored is None or stored.link != link
    assert Data(folder).is_whole()
    return gone, cut.clicks - counted


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("counting", [True, False])
async def test_a_power_cut_loses_no_link_and_at_most_an_interval_of_clicks(tmp_path: Path, counting: bool) -> None:
    """At every moment: each acknowledged link is there as it was, and each click older than the interval is counted."""
    found = await cuts(tmp_path / "disk", synchronous="FULL", sync_interval=INTERVAL, counting=counting)
    worst = 0.0
    for number, cut in enumerate(found):
        links, clicks = await losses(cut, tmp_path / f"cut-{number}")
        allowed = cut.clicks - cut.clicks_before
        if cut.clicks_before:
            worst = max(worst, clicks / allowed)
        assert links == 0
        assert clicks <= allowed, f"cut {number}: {clicks} clicks lost, {allowed} were younger than {INTERVAL} s"
    last = found[-1]
    figures = f"{CUTS} cuts, {len(last.links)} links, {last.clicks} clicks"
    print(f"counting {counting}: {figures}; worst loss {worst:.2f} of the clicks of an interval")
    assert len(last.links) > 100


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_same_cuts_find_what_was_not_synced(tmp_path: Path) -> None:
    """With a database and a journal that sync seldom, links and older clicks are gone: the proof above can fail."""
    found = await cuts(tmp_path / "disk", synchronous="OFF", sync_interval=60, counting=False)
    links, clicks = await losses(found[-1], tmp_path / "cut")
    assert links > 0
    assert clicks > found[-1].clicks - found[-1].clicks_before


class Machine:
    """Clients of a server on a disk of its own, and what they know."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.links: dict[str, str] = {}
        self.sent: dict[str, int] = {}
        self.answered: list[tuple[float, str]] = []

    async def create(self) -> None:
        """Create links, one after the other."""
        async with Connection(self.port) as connection:
            while True:
                url = f"https://example.com/{len(self.links)}/{id(connection)}"
                answer = await connection.post("/v1/links", {"url": url})
                assert answer.status == 201
                self.links[answer.json()["code"]] = url
                await asyncio.sleep(0.003)

    async def follow(self) -> None:
        """Follow the latest links."""
        async with Connection(self.port) as connection:
            while True:
                for code in list(self.links)[-10:]:
                    self.sent[code] = self.sent.get(code, 0) + 1
                    answer = await connection.get("/" + code)
                    assert (answer.status, answer.headers["location"]) == (302, self.links[code])
                    self.answered.append((time.monotonic(), code))
                await asyncio.sleep(0.002)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_machine_that_loses_power(launch: Launcher, tmp_path: Path) -> None:
    """The whole server on an ext4 of its own: a copy of the bare disk, taken under load, is what a cut leaves."""
    chance = seeded("power")
    copies: list[tuple[Path, dict[str, str], dict[str, int], int, int]] = []
    with closing(LoopDisk(tmp_path, options="errors=remount-ro,commit=300")) as disk:
        data = Data(disk.folder)
        process = serve(launch, data)
        machine = Machine(process.port or 0)
        async with beside(*(machine.create() for _ in range(4)), *(machine.follow() for _ in range(4))):
            for number in range(CUTS_OF_A_MACHINE):
                (disk.folder / f"canary-{number}").write_bytes(b"not synced" * 10_000)
                await asyncio.sleep(chance.uniform(1.2, 2.5))
                os.killpg(process.popen.pid, signal.SIGSTOP)
                links, now = dict(machine.links), time.monotonic()
                old = sum(at <= now - INTERVAL for at, _ in machine.answered)
                image = tmp_path / f"cut-{number}.img"
                await asyncio.sleep(0.05)  # what the kernel has begun to write for it, it ends
                shutil.copyfile(disk.image, image)
                copies.append((image, links, dict(machine.sent), len(machine.answered), old))
                os.killpg(process.popen.pid, signal.SIGCONT)
        process.close()
    for number, (image, links, sent, answered, old) in enumerate(copies):
        with closing(LoopDisk(tmp_path, image)) as disk:
            canary = disk.folder / f"canary-{number}"
            assert not canary.exists() or canary.stat().st_size == 0, "the copy holds what was never synced"
            data = Data(disk.folder)
            orphans = set(data.segments())
            process = serve(launch, data)
            await until("counted", partial(no_more, data, orphans))
            visits = data.visits()
            process.close()
            stored = {code: link["url"] for code, link in data.links().items()}
            assert {code: stored.get(code) for code in links} == links
            assert data.is_whole()
            assert all(count <= sent.get(code, 0) for code, count in visits.items())
            counted = sum(visits.values())
            print(f"cut {number}: {len(links)} links, {counted} of {answered} clicks counted, {old} older than 1 s")
            assert counted >= old
        image.unlink()


async def no_more(data: Data, orphans: set[str]) -> bool:
    """Whether nothing is left of the segments that the cut left."""
    return orphans.isdisjoint(data.segments())
