"""The policies of the stack nearly as the default settings have them, on a test's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.main.policies import PolicyFactory
from app.settings import Protection, Retry
from astra_core.asgi import RequestIds
from astra_core.events import Listeners
from astra_core.resilience import Sweep

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from starlette.routing import BaseRoute

    from app.edge import EdgePolicies
    from astra_core.clock import Clock

__all__ = ["edge_policies", "policy_factory"]


def policy_factory(clock: Clock) -> PolicyFactory:
    """Return a factory whose breakers do not probe by themselves."""
    return PolicyFactory(sweep=Sweep(clock=clock), clock=clock, listeners=Listeners(), spawn=_no_task)


def edge_policies(
    clock: Clock, *, routes: Sequence[BaseRoute] = (), settings: Protection | None = None
) -> EdgePolicies:
    """Return what `build_edge` wants; without `settings` nothing is tried again, since a test's clock stands still."""
    once = Protection(retry=Retry(attempts=1))
    return policy_factory(clock).edge(settings or once, routes=routes, ids=RequestIds())


def _no_task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    raise AssertionError("nothing here probes")
