"""One member of a group: the `Log` that a consumer reads."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from astra_core.errors import (
    ClaimLost,
    MessagingError,
    MessagingUnavailable,
    Overloaded,
    StorageError,
    StoreUnavailable,
)
from astra_core.messaging.sqlite import groups
from astra_core.messaging.sqlite.claim import FileClaim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from astra_core.events import MessagesTrimmed
    from astra_core.messaging.messages import Received
    from astra_core.messaging.retain import Retain
    from astra_core.messaging.sqlite.groups import Claimed
    from astra_core.sqlite import Database, Pool

__all__ = ["Member", "translated"]

T = TypeVar("T")


@contextmanager
def translated() -> Iterator[None]:
    """The one place where the embedded engine's errors become those of messaging."""
    try:
        yield
    except StoreUnavailable as error:
        raise MessagingUnavailable(error.reason, retry_after=error.retry_after) from error
    except StorageError as error:
        raise MessagingError(str(error)) from error


class Member:
    """See `Log`.

    Two things make it the only one that reads: the lock of a file, which no two processes hold, and the number of its
    claim, without which no position moves. The second is for the day on which somebody deletes the file.
    """

    def __init__(
        self,
        topic: str,
        group: str,
        *,
        database: Database,
        pool: Pool,
        folder: Path,
        retain: Retain,
        trimmed: Callable[[MessagesTrimmed | None], None],
        released: Callable[[], None],
        serve: Callable[[], None],
    ) -> None:
        """`serve` raises where the engine is closed or about to be."""
        self._topic = topic
        self._group = group
        self._database = database
        self._pool = pool
        self._retain = retain
        self._trimmed = trimmed
        self._released = released
        self._serve = serve
        self._lock = FileClaim(folder / f"{topic}~{group}.lock")
        self._held: Claimed | None = None
        self._noting: asyncio.Future[Claimed] | None = None

    async def claim(self) -> int | None:
        """See `Log.claim`. A lock whose claim could not be noted is let go, so that another member may try."""
        self._serve()
        if not self._lock.opened:
            await self._in_thread(self._lock.open)
            self._serve()
        if not self._lock.lock() or not (self._lock.held or await self._look()):
            return None
        note = partial(groups.begin, topic=self._topic, group=self._group)
        self._noting = asyncio.ensure_future(self._database.write(note))
        try:
            with translated():
                self._held = await asyncio.shield(self._noting)
        except MessagingError:
            await self.release()
            raise
        return self._held.position

    async def read(self, after: int, limit: int) -> list[Received]:
        """See `Log.read`."""
        if self._held is None:
            raise ClaimLost(self._topic, self._group)
        topic = self._held.topic, self._topic
        with translated():
            return await self._database.read(lambda connection: groups.read(connection, topic, after, limit))

    async def acknowledge(self, through: int) -> None:
        """See `Log.acknowledge`."""
        held = self._held
        if held is None:
            raise ClaimLost(self._topic, self._group)
        with translated():
            moved, trimmed = await self._database.write(
                lambda connection: groups.acknowledge(connection, held, self._group, through, self._retain)
            )
        if not moved:
            raise ClaimLost(self._topic, self._group)
        self._trimmed(trimmed)

    async def release(self) -> None:
        """See `Log.release`. A claim on its way to the disk is waited for: later it would end the one of the next."""
        if self._noting is not None and not self._noting.done():
            await asyncio.wait((self._noting,))
        self._held, held = None, self._lock.held
        self._lock.close()
        if held:
            self._released()

    def moved(self) -> int:
        """See `Log.moved`."""
        with translated():
            return self._database.data_version()

    async def _look(self) -> bool:
        """Whether what was locked is the group's file, and so held; a lock of which that is not known is let go."""
        try:
            return self._lock.hold(await self._in_thread(self._lock.look))
        except MessagingError:
            self._lock.close()
            raise

    async def _in_thread(self, step: Callable[[], T]) -> T:
        try:
            return await self._pool.run(step, deadline=self._database.limits.deadline)
        except Overloaded as error:
            raise MessagingUnavailable(str(error), retry_after=error.retry_after) from error
        except TimeoutError as error:
            raise MessagingUnavailable(f"{self._lock.path}: the file was not there in time") from error

    def __repr__(self) -> str:
        return f"Member({self._topic!r}, {self._group!r}, {self._lock!r})"
