"""Asking for a lease so that one that nobody waits for any more is given back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from astra_core.coordination.leases import Lease

__all__ = ["asked"]


async def asked(
    asking: Awaitable[Lease | None], *, give_back: Callable[[Lease], Awaitable[None]], wait: float
) -> Lease | None:
    """Return what `asking` answers. Who is cancelled meanwhile awaits that for `wait` seconds more and gives it back.

    A lease that was taken and never came to its holder would be nobody's until the end of its ttl.
    """
    answer = asyncio.ensure_future(asking)
    try:
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        await asyncio.wait((answer,), timeout=wait)
        if answer.done() and not answer.cancelled() and answer.exception() is None and (lease := answer.result()):
            await give_back(lease)
        raise
