"""From a messaging URL to the engine behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.errors import MessagingError
from astra_core.messaging.memory import MemoryMessaging
from astra_core.messaging.sqlite import SqliteMessaging

if TYPE_CHECKING:
    from astra_core.clock import Clock
    from astra_core.events import Listeners
    from astra_core.messaging.port import MessagingEngine
    from astra_core.messaging.retain import Retain
    from astra_core.sqlite import Limits, Pool

__all__ = ["messaging_from_url"]


def messaging_from_url(
    url: str,
    *,
    retain: Retain,
    writer: Pool,
    readers: Pool,
    limits: Limits,
    clock: Clock,
    listeners: Listeners | None = None,
) -> MessagingEngine:
    """Return the engine that `url` names: `sqlite:PATH` or `memory:`. Pools and limits are for engines that block.

    `listeners` hear what the engine itself tells, such as `MessagesTrimmed`; its calls are told by `observed`.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        return MemoryMessaging(retain=retain, clock=clock, listeners=listeners)
    if scheme == "sqlite":
        return SqliteMessaging(
            rest, writer=writer, readers=readers, retain=retain, limits=limits, clock=clock, listeners=listeners
        )
    raise MessagingError(f"no engine for a messaging URL that begins with {scheme}:")
