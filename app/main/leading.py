"""What one process of all does for all: it records what time and limits do to links, and sends what is to be told."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from typing import TYPE_CHECKING

from app.links import Exhaustions, OlderLinks
from app.main.dependencies import probe_leases, probe_messages
from app.main.policies import LEASES, MESSAGES
from astra_core.coordination import Leadership, coordination_from_url
from astra_core.coordination import guarded as guarded_leases
from astra_core.errors import CoordinationError, MessagingError
from astra_core.keyed import BlockingPool
from astra_core.messaging import Retain, messaging_from_url, observed
from astra_core.messaging import guarded as guarded_messages
from astra_core.sqlite import Limits
from astra_core.workflow import Relay, Sweeper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Any

    from app.links import LinkRepository, LinkRunner
    from app.main.policies import PolicyFactory
    from app.settings import Settings
    from astra_core.clock import Clock
    from astra_core.coordination import CoordinationEngine, Tenure
    from astra_core.events import Listeners
    from astra_core.messaging import MessagingEngine
    from astra_core.resilience import Policy
    from astra_core.storage import StoreEngine

__all__ = ["Leader", "announced", "compose_leader", "coordination_url", "lease_policy", "message_policy"]

logger = logging.getLogger(__name__)

_LEASE = "links"
_TOPIC = "links"
_QUEUE = 100
_LATE = 30.0
"""Seconds for which a message may wait to be sent before this process says that something is wrong."""


class Leader:
    """Competes for the lease, and works while it has it. Nothing here is waited for by a request.

    So a file of leases that cannot be opened does not stop the start: it is tried again, and `/readyz` says so.
    """

    def __init__(
        self,
        engine: CoordinationEngine,
        leadership: Leadership,
        *,
        sweeper: Sweeper[Any, Any, Any, Any],
        exhaustions: Exhaustions,
        older: OlderLinks,
        relay: Relay | None,
        messaging: MessagingEngine | None,
        policies: Sequence[Policy],
        pools: Sequence[BlockingPool],
        clock: Clock,
    ) -> None:
        self.leadership = leadership
        self.exhaustions = exhaustions
        self.relay = relay
        self.policies = policies
        """What stands round leases and messages."""
        self.pools = pools
        self.trouble = ""
        """What could not be opened; "" while all is well."""
        self._engine = engine
        self._sweeper = sweeper
        self._older = older
        self._messaging = messaging
        self._clock = clock

    async def run(self) -> None:
        """Run for ever."""
        await self._until_open(self._engine.open, "leases")
        await self.leadership.run(self._lead)

    async def close(self) -> None:
        """Close the engines; `run` has ended."""
        if self._messaging is not None:
            await self._messaging.close()
        await self._engine.close()

    @property
    def ok(self) -> bool:
        """Whether all could be opened and, where it is this process that sends, no message waits for long."""
        relay = self.relay
        return not self.trouble and (relay is None or not self.leadership.held or relay.age < _LATE)

    def figures(self) -> Mapping[str, object]:
        """Return what there is to know."""
        leadership, relay = self.leadership, self.relay
        figures = {"held": leadership.held, "epoch": leadership.epoch, "terms": leadership.terms}
        if relay is None:
            return figures
        return {**figures, "waiting": relay.depth, "waited": round(relay.age, 3)}

    async def _lead(self, tenure: Tenure) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweeper.run())
            group.create_task(self.exhaustions.run())
            group.create_task(self._older.run())
            if self.relay is not None:
                group.create_task(self._send(self.relay))

    async def _send(self, relay: Relay) -> None:
        if self._messaging is not None:
            await self._until_open(self._messaging.open, "messages")
        await relay.run()

    async def _until_open(self, opening: Callable[[], Awaitable[None]], what: str) -> None:
        while True:
            try:
                await opening()
            except Exception as error:
                self.trouble = what
                unexpected = not isinstance(error, (CoordinationError, MessagingError))
                logger.warning("no %s: %s", what, error, exc_info=unexpected)
            else:
                self.trouble = ""
                return
            await self._clock.sleep(self.leadership.ttl / 3)

    def __repr__(self) -> str:
        return f"<Leader {self.leadership!r} {self.relay!r}>"


def compose_leader(
    settings: Settings,
    store: StoreEngine,
    links: LinkRepository,
    runner: LinkRunner,
    *,
    policies: PolicyFactory,
    clock: Clock,
    listeners: Listeners,
) -> Leader:
    """Build it; nothing is opened."""
    pools = [BlockingPool("coordination", threads=1, queue=_QUEUE, clock=clock, listeners=listeners)]
    engine = coordination_from_url(
        coordination_url(settings), writer=pools[0], readers=pools[0], limits=Limits(), clock=clock, listeners=listeners
    )
    options = settings.coordination
    guards = [lease_policy(policies, "leases", engine, ttl=options.ttl)]
    engine = guarded_leases(engine, policy=guards[0])
    messaging = relay = None
    if settings.messaging.url is not None:
        pools.append(BlockingPool("messaging", threads=1, queue=_QUEUE, clock=clock, listeners=listeners))
        messaging = _messaging(settings, settings.messaging.url, pools[1], clock=clock, listeners=listeners)
        guards.append(message_policy(policies, messaging))
        messaging = guarded_messages(messaging, publishing=guards[1], consuming=guards[1])
        relay = Relay(store, messaging.publisher(), name=_LEASE, clock=clock, listeners=listeners)
    return Leader(
        engine,
        Leadership(engine, _LEASE, ttl=options.ttl, holder=f"process {os.getpid()}", clock=clock, listeners=listeners),
        sweeper=Sweeper(runner, store, idle=settings.links.record_interval, clock=clock, listeners=listeners),
        exhaustions=Exhaustions(store, runner, interval=settings.links.record_interval, clock=clock),
        older=OlderLinks(store, links, clock=clock),
        relay=relay,
        messaging=messaging,
        policies=guards,
        pools=pools,
        clock=clock,
    )


def lease_policy(policies: PolicyFactory, name: str, engine: CoordinationEngine, *, ttl: float) -> Policy:
    """Return what stands round the leases of `engine`: a renewal has ended when the next one of a `ttl` is due."""
    return policies.dependency(
        name,
        LEASES,
        pick=lambda s: s.coordination.calls,
        deadline=lambda s: min(s.coordination.deadline, ttl / 3),
        probe=partial(probe_leases, engine),
    )


def message_policy(policies: PolicyFactory, engine: MessagingEngine) -> Policy:
    """Return what stands round the messages of `engine`; a process that publishes no more still sees it come back."""
    return policies.dependency(
        "messages",
        MESSAGES,
        pick=lambda s: s.messaging.calls,
        deadline=lambda s: s.messaging.deadline,
        probe=partial(probe_messages, engine),
    )


def announced(settings: Settings) -> str:
    """Return the topic that the events of links are told on; "" where nobody wants to hear of them."""
    return "" if settings.messaging.url is None else _TOPIC


def coordination_url(settings: Settings) -> str:
    """Return where the leases are: where the settings say, else beside the store, which the same processes share."""
    if settings.coordination.url is not None:
        return settings.coordination.url
    if settings.store.engine == "memory":
        return "memory:"
    return f"sqlite:{settings.store.path.with_name('coordination.db')}"


def _messaging(
    settings: Settings, url: str, pool: BlockingPool, *, clock: Clock, listeners: Listeners
) -> MessagingEngine:
    options = settings.messaging
    retain = Retain(messages=options.messages_kept, weight=options.bytes_kept)
    engine = messaging_from_url(
        url, retain=retain, writer=pool, readers=pool, limits=Limits(), clock=clock, listeners=listeners
    )
    return observed(engine, name=url.partition(":")[0], listener=listeners, clock=clock)
