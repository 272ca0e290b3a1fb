"""A bounded pool of threads for clients that block: database drivers, file systems, coordination recipes."""

from __future__ import annotations

import asyncio
import threading
import time
from queue import Empty, SimpleQueue
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar

from astra_core.errors import Overloaded
from astra_core.events import PoolWaited

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.clock import Clock
    from astra_core.events import Listener

__all__ = ["BlockingPool"]

T = TypeVar("T")

_EXIT_POLL = 1.0
"""Seconds between an idle thread's looks at whether the interpreter is leaving without having closed the pool."""


class _Job:
    __slots__ = ("args", "call", "future", "loop", "queued")

    def __init__(
        self, call: Callable[..., Any], args: tuple[Any, ...], loop: asyncio.AbstractEventLoop, queued: float
    ) -> None:
        self.call = call
        self.args = args
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.queued = queued


class BlockingPool:
    """At most `threads` calls at once and `queue` waiting; one more raises `Overloaded`.

    Threads start when first needed, never those of the loop's default executor. They are not daemons, so a call is
    never torn at interpreter exit; an idle thread leaves within a second of it. For callers of one event loop.
    A call for which there is none and none can be started is `Overloaded` too. `listeners` hear `PoolWaited` of each
    call that ended.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        queue: int,
        clock: Clock | None = None,
        listeners: Listener | None = None,
    ) -> None:
        if threads < 1 or queue < 0:
            raise ValueError("a pool needs at least one thread and a queue of 0 or more")
        self.name = name
        self.limit = threads + queue
        self.max_wait = 0.0
        """The longest that a call waited for a thread, in seconds."""
        self.size = threads
        """Threads that it may have."""
        self._listeners = listeners
        self._monotonic = clock.monotonic if clock else time.monotonic
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._outstanding = 0
        self._closed = False
        self._drained: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Calls that wait for a thread."""
        return 0 if self._closed else self._jobs.qsize()

    @property
    def threads(self) -> int:
        """Threads that it has."""
        return len(self._threads)

    @property
    def in_use(self) -> int:
        """Calls that run in a thread."""
        return max(0, self._outstanding - self.waiting)

    def __repr__(self) -> str:
        return f"BlockingPool({self.name!r}, in_use={self.in_use}, waiting={self.waiting}, limit={self.limit})"

    async def run(self, call: Callable[..., T], *args: Any, deadline: float | None = None) -> T:
        """Return `call(*args)` as run in a thread.

        After `deadline` seconds raises `TimeoutError`: a call that a thread began goes on there and its result is
        dropped, one that still waited is never begun. The same holds for a caller that is cancelled.
        """
        if self._closed:
            raise Overloaded(f"pool {self.name} is closed and", limit=0)
        if self._outstanding >= self.limit:
            raise Overloaded(f"pool {self.name}", limit=self.limit - self.size)
        loop = asyncio.get_running_loop()
        job = _Job(call, args, loop, self._monotonic())
        if self._outstanding >= len(self._threads) < self.size:
            self._start_thread()
        self._outstanding += 1
        self._jobs.put(job)
        timer = None if deadline is None else loop.call_later(deadline, _expire, job.future)
        try:
            result: T = await job.future
        except asyncio.CancelledError:
            if not job.future.cancelled() and job.future.exception() is None:  # it came in this very turn of the loop
                _drop(job.future.result())
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return result

    async def close(self, *, timeout: float = 5.0) -> None:
        """Refuse new calls, let those under way and waiting end, and join the threads; at most `timeout` seconds."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        if self._outstanding:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._drained], timeout=timeout)
        if not self._outstanding:
            for thread in self._threads:
                thread.join(timeout)
        self._threads.clear()

    def _start_thread(self) -> None:
        """Start one more; where the system gives none, those that there are do its work.

        The next call tries again.
        """
        thread = threading.Thread(target=self._work, name=f"{self.name}-{len(self._threads)}")
        try:
            thread.start()
        except RuntimeError as error:
            if not self._threads:
                raise Overloaded(f"pool {self.name} can start no thread and", limit=0) from error
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        main = threading.main_thread()
        while True:
            try:
                job = self._jobs.get(timeout=_EXIT_POLL)
            except Empty:
                if main.is_alive():
                    continue
                return
            if job is None:
                return
            self._perform(job)
            del job

    def _perform(self, job: _Job) -> None:
        waited = self._monotonic() - job.queued
        result: Any = None
        error: BaseException | None = None
        if not job.future.done():
            try:
                result = job.call(*job.args)
            except StopIteration as caught:  # the one that no future can hold: its caller would wait for ever
                error = RuntimeError("the call raised StopIteration")
                error.__cause__ = caught
            except BaseException as caught:
                error = caught
        try:
            job.loop.call_soon_threadsafe(self._finish, job, result, error, waited)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._outstanding -= 1

    def _finish(self, job: _Job, result: Any, error: BaseException | None, waited: float) -> None:
        self._outstanding -= 1
        if waited > self.max_wait:
            self.max_wait = waited
        if self._listeners is not None:
            self._listeners(PoolWaited(self.name, waited))
        if job.future.done():
            _drop(result)
        elif error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)
        if self._drained and not self._outstanding and not self._drained.done():
            self._drained.set_result(None)


def _drop(result: object) -> None:
    """Close a coroutine that nobody will await any more; other results need no goodbye."""
    if isinstance(result, CoroutineType):
        result.close()


def _expire(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(TimeoutError("the call did not end before its deadline"))
