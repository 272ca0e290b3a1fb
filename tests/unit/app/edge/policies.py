"""The policies of the stack nearly as the default settings have them, on a test's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.edge import TrustedProxies
from app.main.families import PRODUCT
from app.main.following import rules_in_force
from app.main.instruments import Instruments
from app.main.live import Live
from app.main.policies import PolicyFactory
from app.settings import Protection, Retry, Settings
from astra_core.asgi import RequestIds
from astra_core.events import Listeners
from astra_core.resilience import Sweep
from astra_core.telemetry import LIBRARY, Metrics

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from starlette.routing import BaseRoute

    from app.api import InForce
    from app.edge import EdgePolicies
    from astra_core.clock import Clock
    from astra_core.resilience.breaker_probe import Spawn

__all__ = ["as_given", "edge_policies", "policy_factory"]


def as_given() -> InForce:
    """Return what requests go by with the default settings."""
    return rules_in_force(Settings())


def policy_factory(
    clock: Clock, settings: Settings | None = None, *, spawn: Spawn | None = None, live: Live | None = None
) -> PolicyFactory:
    """Return a factory; without `spawn` its breakers do not probe by themselves."""
    return PolicyFactory(
        sweep=Sweep(clock=clock),
        clock=clock,
        listeners=Listeners(),
        spawn=spawn or _no_task,
        instruments=Instruments(Metrics((*LIBRARY, *PRODUCT), clock=clock)),
        live=live or Live(settings or Settings()),
    )


def edge_policies(
    clock: Clock, *, routes: Sequence[BaseRoute] = (), settings: Protection | None = None
) -> EdgePolicies:
    """Return what `build_edge` wants; without `settings` nothing is tried again, since a test's clock stands still."""
    given = Settings(http=settings or Protection(retry=Retry(attempts=1)))
    trusted = TrustedProxies(given.http.trusted_proxies)
    return policy_factory(clock, given).edge(routes=routes, ids=RequestIds(trusted=trusted or None), trusted=trusted)


def _no_task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    raise AssertionError("nothing here probes")
