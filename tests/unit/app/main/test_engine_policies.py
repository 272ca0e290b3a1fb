"""Leases and messages behind policies: an engine that is away is spared, told of, and believed by nobody."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from app.main import compose
from app.main.leading import lease_policy, message_policy
from app.main.live import Live
from app.main.reloading import Sources
from app.settings import Coordination, EngineBreaker, EngineSafeguards, Imports, Messaging, Settings
from astra_core.config import as_loaded
from astra_core.coordination import Leadership, MemoryCoordination
from astra_core.coordination import guarded as guarded_leases
from astra_core.errors import CoordinationUnavailable, MessagingUnavailable
from astra_core.messaging import MemoryMessaging
from astra_core.messaging import guarded as guarded_messages
from astra_core.resilience import BreakerState, CircuitBreaker
from astra_core.storage import MemoryStore, Publish
from astra_core.testing import FakeClock
from astra_core.workflow import REFUSED, Relay
from tests.integration.api.served import client_of, until
from tests.unit.app.edge.policies import policy_factory
from tests.unit.app.main.test_leading import leader_of, process, reader_of, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from astra_core.coordination import Lease, Tenure
    from astra_core.messaging import Outgoing, Publisher, TopicState
    from astra_core.resilience import Policy
    from tests.integration.api.served import Served


class Leases(MemoryCoordination):
    """An engine that can be away; it counts who asks it then."""

    away = False
    asked = 0

    def _ask(self) -> None:
        if self.away:
            self.asked += 1
            raise CoordinationUnavailable("away")

    async def acquire(self, name: str, *, ttl: float, holder: str = "") -> Lease | None:
        """See `Leases.acquire`."""
        self._ask()
        return await super().acquire(name, ttl=ttl, holder=holder)

    async def renew(self, lease: Lease) -> Lease:
        """See `Leases.renew`."""
        self._ask()
        return await super().renew(lease)


class Broker(MemoryMessaging):
    """One that can be away; it counts what it is asked for then."""

    away = False
    published = probed = 0

    def publisher(self) -> Publisher:
        """See `MessagingEngine.publisher`."""
        return _Publishing(self, super().publisher())

    async def topics(self) -> Sequence[TopicState]:
        """See `MessagingEngine.topics`."""
        if self.away:
            self.probed += 1
            raise MessagingUnavailable("away")
        return await super().topics()


class _Publishing:
    def __init__(self, broker: Broker, publisher: Publisher) -> None:
        self._broker = broker
        self._publisher = publisher

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        if self._broker.away:
            self._broker.published += 1
            raise MessagingUnavailable("away")
        await self._publisher.publish(messages)


def state_of(policy: Policy) -> BreakerState:
    """Return the state of its breaker."""
    assert isinstance(policy.breaker, CircuitBreaker)
    return policy.breaker.snapshot().state


async def forever(tenure: Tenure) -> None:
    """Work that does not end."""
    await asyncio.Event().wait()


async def test_a_lease_that_cannot_be_renewed_is_given_up_in_time() -> None:
    """Its holder stops before its end though the breaker is open, asks seldom meanwhile, and leads again soon after."""
    clock = FakeClock()
    engine = Leases(clock=clock)
    policy = lease_policy(policy_factory(clock, spawn=asyncio.create_task), "leases", engine, ttl=10.0)
    leadership = Leadership(guarded_leases(engine, policy=policy), "links", ttl=10.0, clock=clock)
    leading = asyncio.create_task(leadership.run(forever))
    await engine.open()
    await clock.run_for(1.0)
    assert [leadership.held] == [True]
    engine.away = True
    await clock.run_for(9.5)
    assert [leadership.held] == [False]
    assert state_of(policy) is not BreakerState.CLOSED
    before = engine.asked
    await clock.run_for(60.0)
    assert engine.asked - before <= 20  # once in a pause, and not each time that somebody wants the lease
    engine.away = False
    await clock.run_for(5.0 + 10.0 / 3)  # the longest pause, and that between two looks
    assert (leadership.held, state_of(policy)) == (True, BreakerState.CLOSED)
    leading.cancel()
    await asyncio.wait((leading,))


async def test_leases_that_come_back_in_time_are_kept() -> None:
    """An engine that is away for half a ttl opens the breaker, and costs nobody the lease."""
    clock = FakeClock()
    engine = Leases(clock=clock)
    policy = lease_policy(policy_factory(clock, spawn=asyncio.create_task), "leases", engine, ttl=10.0)
    leadership = Leadership(guarded_leases(engine, policy=policy), "links", ttl=10.0, clock=clock)
    leading = asyncio.create_task(leadership.run(forever))
    await engine.open()
    await clock.run_for(1.0)
    engine.away = True
    await clock.run_for(5.0)
    assert state_of(policy) is not BreakerState.CLOSED
    engine.away = False
    await clock.run_for(30.0)
    assert (leadership.held, leadership.terms) == (True, 1)
    leading.cancel()
    await asyncio.wait((leading,))


async def test_a_renewal_that_hangs_ends_before_the_next_is_due() -> None:
    """Whatever deadline the settings have: one that is longer is cut to a third of the ttl."""
    clock = FakeClock()
    slow = Settings(coordination=Coordination(deadline=2.0))
    policy = lease_policy(policy_factory(clock, slow), "import lease", MemoryCoordination(clock=clock), ttl=3.0)
    assert policy.deadline is not None
    assert policy.deadline.parameters.budget == 1.0


async def test_a_broker_that_is_away_is_not_hammered() -> None:
    """In ten minutes it is asked about once in the longest pause; what waited is published when it is back."""
    clock = FakeClock()
    broker = Broker(clock=clock)
    policy = message_policy(policy_factory(clock, spawn=asyncio.create_task), broker)
    engine = guarded_messages(broker, publishing=policy, consuming=policy)
    async with broker, MemoryStore(collections=[REFUSED]) as store:
        broker.away = True
        await store.commit([Publish(topic="links", key="abc", data=b"made", id="1")])
        relaying = asyncio.create_task(Relay(store, engine.publisher(), clock=clock).run())
        await clock.run_for(600.0)
        assert broker.published <= 10
        assert 100 <= broker.probed <= 200
        assert await store.waiting() == 1
        broker.away = False
        await clock.run_for(10.0)
        assert await store.waiting() == 0
        assert state_of(policy) is BreakerState.CLOSED
        relaying.cancel()
        await asyncio.wait((relaying,))


def test_the_settings_are_followed_while_the_process_runs() -> None:
    """Deadlines and breakers of both take new ones and keep their state."""
    clock = FakeClock()
    live = Live(Settings())
    policies = policy_factory(clock, live=live)
    leases = lease_policy(policies, "leases", MemoryCoordination(clock=clock), ttl=10.0)
    messages = message_policy(policies, MemoryMessaging(clock=clock))
    calls = EngineSafeguards(breaker=EngineBreaker(open_for=1.5))
    live.prepare(
        Settings(coordination=Coordination(deadline=0.2, calls=calls), messaging=Messaging(deadline=0.3, calls=calls))
    )()
    for policy, budget in ((leases, 0.2), (messages, 0.3)):
        assert policy.deadline is not None
        assert policy.deadline.parameters.budget == budget
        assert isinstance(policy.breaker, CircuitBreaker)
        assert policy.breaker.parameters.open_for == 1.5


async def breaker(service: Served, name: str) -> dict[str, Any]:
    """Return what `/readyz` says of a breaker, and of the whole."""
    answer = (await service.http.get("/readyz")).json()
    figures: dict[str, Any] = answer["dependencies"]["changes"]["breakers"][name]
    return {"status": answer["status"], **figures}


async def told(service: Served, name: str) -> bool:
    """Whether `/readyz` and the metrics say that it is open."""
    figures = await breaker(service, name)
    metrics = (await service.http.get("/metrics")).text
    exported = re.search(rf'^astra_breaker_state{{name="{name}",state="open"}} 1', metrics, re.MULTILINE)
    return figures["status"] == "degraded" and figures["state"] != "closed" and exported is not None


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep everybody from writing to a file of SQLite, as a program does that is stopped within a transaction."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.timeout(60)
async def test_leases_that_do_not_answer_are_seen(tmp_path: Path) -> None:
    """Another program has locked their file: the breaker opens, `/readyz` and the metrics say so, links go on."""
    async with process(tmp_path, coordination=Coordination(ttl=1.0, deadline=0.05)) as service:

        async def leads() -> bool:
            leader = await leader_of(service)
            return bool(leader["ok"] and leader["held"])

        async def given_up() -> bool:
            return not (await leader_of(service))["held"]

        await until(leads)
        with locked(tmp_path / "coordination.db"):
            await until(partial(told, service, "leases"))
            await until(given_up)
            await service.create(code="abc")
            assert await service.follow("abc") == 302
        await until(leads)
        assert (await breaker(service, "leases"))["state"] == "closed"


@pytest.mark.timeout(60)
async def test_a_broker_that_does_not_answer_is_seen(tmp_path: Path) -> None:
    """Its breaker opens and is told of, links are made, and what waited in the outbox is sent when it is back."""
    file = tmp_path / "messages.db"
    async with process(tmp_path, messaging=Messaging(url=f"sqlite:{file}", deadline=0.05)) as service:

        async def sent() -> bool:
            leader = await leader_of(service)
            return bool(leader["ok"] and leader["held"] and leader["waiting"] == 0)

        await service.create(code="first")
        async with reader_of(file) as reader:

            async def published() -> bool:
                return bool(await reader.receive(limit=1, wait=0.1))

            await until(published)  # so the file is open: a lock would keep it from being opened
        with locked(file):
            await service.create(code="abc")
            await until(partial(told, service, "messages"))
            assert await service.follow("abc") == 302
            assert (await leader_of(service))["waiting"] > 0
        await until(sent)
        assert (await breaker(service, "messages"))["state"] == "closed"


async def test_the_lease_of_imports_has_a_breaker_of_its_own(tmp_path: Path) -> None:
    """A server whose imports a worker carries out shows it; the file is another one than that of the leases."""
    given = as_loaded(settings(tmp_path, imports=Imports(folder=str(tmp_path / "imports"))))
    application = compose(given, sources=Sources(load=lambda: given))
    await application.open()
    try:
        async with client_of(application) as http:
            assert 'astra_breaker_state{name="import lease",state="closed"} 1' in (await http.get("/metrics")).text
    finally:
        await application.close()
