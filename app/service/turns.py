"""Long work in one loop with others: a few milliseconds at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

__all__ = ["in_turns"]

T = TypeVar("T")

_TURN = 0.003
"""Seconds of work before the loop is let go."""


async def in_turns(steps: Iterable[T], *, monotonic: Callable[[], float]) -> AsyncIterator[T]:
    """Yield from `steps`, letting the loop go whenever they, and what is done with them, have taken a turn's time."""
    until = monotonic() + _TURN
    for step in steps:
        if monotonic() >= until:
            await asyncio.sleep(0)
            until = monotonic() + _TURN
        yield step
