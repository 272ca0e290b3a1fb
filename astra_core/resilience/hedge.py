"""Hedging: a second copy of a read that is slow to answer; whichever answers first serves.

Source: Jeffrey Dean and Luiz André Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013: a hedge sent
after the 95th percentile cuts the tail for a few per cent more load.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["hedged"]

T = TypeVar("T")


async def hedged(
    fn: Callable[[], Awaitable[T]],
    *,
    after: float,
    may_send: Callable[[], bool],
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    """Return the first success of `fn()` and, if that has not ended after `after` seconds and `may_send()`, another.

    When both fail the first copy's error is raised. The loser is cancelled and has ended on return, so hedge only what
    may be done twice.
    """
    first = asyncio.ensure_future(fn())
    timer = asyncio.ensure_future(sleep(after))
    copies: list[asyncio.Future[T]] = [first]
    try:
        await asyncio.wait((first, timer), return_when=asyncio.FIRST_COMPLETED)
        if not first.done() and may_send():
            copies.append(asyncio.ensure_future(fn()))
        return await _first_success(copies)
    finally:
        await _end(*copies, timer)


async def _first_success(copies: list[asyncio.Future[T]]) -> T:
    pending = set(copies)
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for copy in copies:
            if copy.done() and not copy.cancelled() and copy.exception() is None:
                return copy.result()
    return copies[0].result()


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
