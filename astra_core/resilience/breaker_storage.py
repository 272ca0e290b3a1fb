"""A breaker's side of an aiobreaker storage, which others may share, and which may block.

The breaker decides by what it knows itself; the storage is told, and followed when it says something new. A storage of
aiobreaker's is synchronous, and Redis or a file behind it would stop the event loop: where one runs, such a storage is
touched in a worker thread, one job at a time and in order, and what was read is at most `refresh` seconds old.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from aiobreaker import CircuitBreakerState
from aiobreaker.storage.memory import CircuitMemoryStorage

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aiobreaker.storage.base import CircuitBreakerStorage

    from astra_core.clock import Clock

__all__ = ["Offload", "Shared", "StorageLink", "in_default_executor"]

_log = logging.getLogger("astra.resilience")


class Shared(NamedTuple):
    """What a storage holds: state, naive UTC time of the last opening, failures in a row of all who share it."""

    state: CircuitBreakerState
    opened_at: datetime | None
    counter: int


if TYPE_CHECKING:
    Offload = Callable[[Callable[[], Shared]], asyncio.Future[Shared]]


def in_default_executor(work: Callable[[], Shared]) -> asyncio.Future[Shared]:
    """Run `work` in the running loop's default thread pool."""
    return asyncio.get_running_loop().run_in_executor(None, work)


class StorageLink:
    """Tells `storage` what the breaker did, and calls `adopt` with what others did to it."""

    def __init__(
        self,
        storage: CircuitBreakerStorage,
        *,
        adopt: Callable[[Shared], None],
        clock: Clock,
        refresh: float,
        offload: Offload,
    ) -> None:
        self.counter = 0
        """Failures in a row, as aiobreaker counts them; with a storage that is shared, as last known."""
        self._state = CircuitBreakerState.CLOSED
        self._storage = storage
        self._adopt = adopt
        self._now = clock.monotonic
        self._refresh = refresh
        self._offload = offload
        self._blocks = not isinstance(storage, CircuitMemoryStorage)
        self._due = 0.0
        self._pending: list[Callable[[], None]] = []
        self._job: asyncio.Future[Shared] | None = None

    def begin(self) -> None:
        """Adopt what the storage holds before the first call."""
        self._take(self._read())

    def current_counter(self) -> int:
        """Failures in a row, with those of others where they can be read at once."""
        return self.counter if self._blocks else self._storage.counter

    def current_state(self, own: CircuitBreakerState) -> CircuitBreakerState:
        """`own`, unless others wrote another state that has not been adopted yet and can be read at once."""
        if self._blocks or self._storage.state is self._state:
            return own
        return self._storage.state

    def follow(self) -> None:
        """Adopt what others wrote: now, or soon when the storage blocks and a loop runs here."""
        if not self._must_offload():
            try:
                self._take(self._read())
            except Exception:
                _log.exception("the storage %r of a breaker cannot be read", self._storage)
        elif self._job is None and self._now() >= self._due:
            self._start()

    def failed(self) -> None:
        """One more failure in a row."""
        self.counter += 1
        self._tell(self._storage.increment_counter)

    def succeeded(self) -> None:
        """No failures in a row any more."""
        if self.counter:
            self.counter = 0
            self._tell(self._storage.reset_counter)

    def moved(self, state: CircuitBreakerState, opened_at: datetime | None) -> None:
        """The breaker came to `state`, at naive UTC `opened_at` when that is open."""
        self._state = state
        if state is CircuitBreakerState.CLOSED:
            self.counter = 0

        def write() -> None:
            if opened_at is not None:
                self._storage.opened_at = opened_at
            self._storage.state = state
            if state is CircuitBreakerState.CLOSED:
                self._storage.reset_counter()  # type: ignore[no-untyped-call]

        self._tell(write)

    def _must_offload(self) -> bool:
        if not self._blocks:
            return False
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    def _tell(self, write: Callable[[], None]) -> None:
        if self._must_offload():
            self._pending.append(write)
            if self._job is None:
                self._start()
            return
        try:
            write()
        except Exception:
            _log.exception("the storage %r of a breaker cannot be written", self._storage)

    def _read(self) -> Shared:
        storage = self._storage
        return Shared(storage.state, storage.opened_at, storage.counter)

    def _take(self, shared: Shared) -> None:
        self.counter = shared.counter
        if shared.state is not self._state:
            self._state = shared.state
            self._adopt(shared)

    def _start(self) -> None:
        writes, self._pending = self._pending, []

        def work() -> Shared:
            for write in writes:
                write()
            return self._read()

        self._job = self._offload(work)
        self._job.add_done_callback(self._done)

    def _done(self, job: asyncio.Future[Shared]) -> None:
        self._job = None
        self._due = self._now() + self._refresh
        if job.cancelled():
            return
        if error := job.exception():
            _log.error("the storage %r of a breaker fails", self._storage, exc_info=error)
        if self._pending:  # what was read is older than what is still to be written
            self._start()
        elif error is None:
            self._take(job.result())
