"""Of all processes one does what is done once for all, and no request waits for it."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from app.main import compose
from app.main.leading import Leader, coordination_url
from app.settings import Clicks, Coordination, Links, Messaging, Metrics, Settings, Store
from astra_core.config import as_loaded
from astra_core.coordination import Leadership, MemoryCoordination
from astra_core.keyed import BlockingPool
from astra_core.messaging import SqliteMessaging
from astra_core.testing import FakeClock
from astra_core.workflow import Notice
from tests.integration.api.served import Served, client_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from astra_core.messaging import Consumer


def settings(folder: Path, *, name: str = "one", **sections: Any) -> Settings:
    """Settings of a process over the store in `folder`; each `name` has its own journal and figures."""
    return Settings(
        **{
            "store": Store(url=f"sqlite:{folder / 'astra.db'}"),
            "links": Links(record_interval=0.02),
            "coordination": Coordination(ttl=1.0),
            "clicks": Clicks(journal=str(folder / "journal"), segment_size=64 * 1024, quota=4 * 1024**2),
            "metrics": Metrics(folder=str(folder / f"metrics-{name}")),
            **sections,
        }
    )


@asynccontextmanager
async def process(folder: Path, **options: Any) -> AsyncIterator[Served]:
    """Open one, and close it."""
    application = compose(as_loaded(settings(folder, **options)))
    await application.open()
    try:
        async with client_of(application) as http:
            yield Served(http)
    finally:
        await application.close()


async def leader_of(service: Served) -> dict[str, Any]:
    """Return what `/readyz` says of the lease."""
    changes = (await service.http.get("/readyz")).json()["dependencies"]["changes"]
    leader: dict[str, Any] = changes["leader"]
    return {"ok": changes["ok"], **leader}


@pytest.mark.parametrize(
    ("store", "url", "used"),
    [
        ("sqlite:./data/astra.db", None, "sqlite:data/coordination.db"),
        ("sqlite:/var/lib/x.db", None, "sqlite:/var/lib/coordination.db"),
        ("memory:", None, "memory:"),
        ("sqlite:./data/astra.db", "sqlite:/run/leases.db", "sqlite:/run/leases.db"),
    ],
)
def test_the_leases_are_beside_the_store(store: str, url: str | None, used: str) -> None:
    """Who shares the store shares them, unless the settings say where they are."""
    assert coordination_url(Settings(store=Store(url=store), coordination=Coordination(url=url))) == used


class Rests:
    """Work that has nothing to do."""

    async def run(self) -> None:
        """Stay."""
        await asyncio.Event().wait()


class OpensLater(MemoryCoordination):
    """Cannot be opened at first, for a reason that nobody expects."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.error: Exception | None = KeyError("a bug")

    async def open(self) -> None:
        """Fail, or open."""
        if self.error is not None:
            raise self.error
        await super().open()


async def test_leases_that_cannot_be_opened_are_tried_again_whatever_the_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not well meanwhile, and leads when they can be; what nobody expects is logged whole."""
    clock = FakeClock()
    engine = OpensLater(clock)
    doer: Any = Rests()
    leader = Leader(
        engine,
        Leadership(engine, "links", ttl=3.0, clock=clock),
        sweeper=doer,
        exhaustions=doer,
        older=doer,
        relay=None,
        messaging=None,
        policies=(),
        pools=(),
        clock=clock,
    )
    leading = asyncio.create_task(leader.run())
    await clock.run_for(0.5)
    assert (leader.ok, leader.trouble) == (False, "leases")
    assert caplog.records[0].exc_info is not None
    engine.error = None
    await clock.run_for(1.0)
    assert (leader.ok, leader.leadership.held) == (True, True)
    leading.cancel()
    await asyncio.wait((leading,))
    await leader.close()


async def test_one_of_two_leads_and_the_other_follows_it(tmp_path: Path) -> None:
    """The lease is given back when its holder closes, and its epoch grows."""
    async with process(tmp_path, name="two") as second:
        async with process(tmp_path) as first:

            async def one_leads() -> bool:
                return bool((await leader_of(first))["held"] != (await leader_of(second))["held"])

            await until(one_leads)
            for _ in range(20):
                held = [(await leader_of(each))["held"] for each in (first, second)]
                assert held.count(True) == 1
            epoch = max([(await leader_of(each))["epoch"] for each in (first, second)])

        async def second_leads() -> bool:
            return bool((await leader_of(second))["held"])

        await until(second_leads)
        assert (await leader_of(second))["epoch"] >= epoch


async def test_leases_that_cannot_be_opened_stop_nobody(tmp_path: Path) -> None:
    """The service is degraded and says so; links are made, followed and changed. It is tried again."""
    (tmp_path / "file").write_text("")
    broken = Coordination(url=f"sqlite:{tmp_path / 'file' / 'leases.db'}", ttl=1.0)
    async with process(tmp_path, coordination=broken) as service:
        await service.create(code="abc")
        assert await service.follow("abc") == 302
        assert (await service.http.post("/v1/links/abc/disable")).status_code == 200

        async def told() -> bool:
            return not (await leader_of(service))["ok"]

        await until(told)
        assert (await service.http.get("/readyz")).json()["status"] == "degraded"
        (tmp_path / "file").unlink()

        async def leads() -> bool:
            leader = await leader_of(service)
            return bool(leader["ok"] and leader["held"])

        await until(leads)


async def test_what_visits_and_time_do_is_recorded(tmp_path: Path) -> None:
    """By itself, in whichever process leads."""
    async with process(tmp_path) as service:
        await service.create(code="abc", max_visits=2)
        assert [await service.follow("abc") for _ in range(3)] == [302, 302, 410]

        async def exhausted() -> bool:
            items = (await service.http.get("/v1/links/abc/history")).json()["items"]
            return [(entry["event"], entry["by"]) for entry in items] == [
                ("made", "anonymous"),
                ("exhausted", "limit"),
            ]

        await until(exhausted)
        assert (await service.read("abc"))["version"] == 1


async def test_figures_of_the_lease_are_exported(tmp_path: Path) -> None:
    """One leader, given the lease once."""
    async with process(tmp_path) as service:

        async def exported() -> bool:
            text = (await service.http.get("/metrics")).text
            held = re.search(r'^astra_lease_held{lease="links"} 1', text, re.MULTILINE)
            taken = re.search(r'^astra_lease_changes_total{change="taken",lease="links"} 1', text, re.MULTILINE)
            return held is not None and taken is not None

        await until(exported)


async def test_a_process_that_closes_gives_the_lease_back(tmp_path: Path) -> None:
    """Nobody waits for the end of its ttl: far longer than this test."""
    long = Coordination(ttl=300.0)
    for epoch in (1, 2):
        async with process(tmp_path, coordination=long) as service:

            async def held(epoch: int = epoch, service: Served = service) -> bool:
                return bool((await leader_of(service))["epoch"] == epoch)

            await until(held)
    await asyncio.sleep(0)


async def test_events_of_links_are_published_where_somebody_wants_them(tmp_path: Path) -> None:
    """What is made, in a batch too, and changed comes to whoever reads the topic, in order; the outbox empties."""
    url = f"sqlite:{tmp_path / 'messages.db'}"
    async with (
        process(tmp_path, messaging=Messaging(url=url)) as service,
        reader_of(tmp_path / "messages.db") as reader,
    ):
        await service.create(code="abc")
        await service.http.post("/v1/links/batch", json={"links": [{"url": "https://b.example", "code": "batch-one"}]})
        await service.http.post("/v1/links/abc/disable", headers={"x-reason": "spam"})
        found: list[Notice] = []

        async def all_read() -> bool:
            for message in await reader.receive(limit=100, wait=0.1):
                found.append(Notice.read(message.data))
                await reader.acknowledge(message)
            return len(found) >= 3

        await until(all_read)
        assert [(notice.key, notice.entry.event, notice.version) for notice in found] == [
            ("abc", "begin", 1),
            ("batch-one", "begin", 1),
            ("abc", "Disable", 2),
        ]
        assert (found[2].entry.by, found[2].entry.why) == ("anonymous", "spam")

        async def sent() -> bool:
            return bool((await leader_of(service))["waiting"] == 0)

        await until(sent)


@asynccontextmanager
async def reader_of(file: Path) -> AsyncIterator[Consumer]:
    """Read the topic of links as another process does."""
    pool = BlockingPool("reader", threads=1, queue=10)
    async with SqliteMessaging(file, writer=pool, readers=pool) as messaging:
        yield messaging.consumer("links", group="test")
    await pool.close()
