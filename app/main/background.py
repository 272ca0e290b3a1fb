"""What runs beside the requests: loops for ever, and now and then a breaker's probes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Background", "log_end"]

logger = logging.getLogger(__name__)


class Background:
    """Tasks of the running loop that end together; one that an exception ends before is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin `work`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_end)
        return task

    async def close(self, *, timeout: float) -> None:
        """Cancel them all, and wait at most `timeout` seconds for their ends."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        return f"<Background tasks={len(self)}>"


def log_end(task: asyncio.Task[None]) -> None:
    """Log the exception that ended `task`, which nobody awaits: what it did is not done any more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        name = getattr(task.get_coro(), "__qualname__", task.get_name())
        logger.error("%s has ended, which it should not", name, exc_info=error)
