"""Work by key on the event loop: a mailbox a key, one piece at a time, bounded everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextvars import copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from astra_core.clock import SystemClock
from astra_core.detached import detached
from astra_core.errors import Reentered, WorkCut, WorkRefused
from astra_core.events import ExecutorClosed, RetryScheduled, TaskDeadLettered, TaskRejected
from astra_core.keyed.attempts import doubling, every_error
from astra_core.keyed.letters import DeadLetter, deliver
from astra_core.keyed.mailbox import Job, Mailbox, Stage, enter, surrounding, waits_for
from astra_core.keyed.rest import GRACE, Rest
from astra_core.keyed.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from contextvars import Context

    from astra_core.clock import Clock
    from astra_core.events import Listener
    from astra_core.keyed.letters import DeadLetters
    from astra_core.keyed.pool import BlockingPool

__all__ = ["KeyedExecutor"]

T = TypeVar("T")


class KeyedExecutor:
    """An `Executor` on the event loop, or with `pool` in its threads, which a task of its own carries each work out.

    `concurrency` bounds the keys that run at once, `mailbox` the work that waits for one key, `queue` all that waits;
    one more gets `WorkRefused`. A key without work takes no memory. A caller who is cancelled takes back work that has
    not begun; work that has goes on to its end.

    A failed attempt is followed by up to `attempts` in all, each after `backoff(attempt)` seconds in which the key, but
    no permit, is held. Work that used them up goes to `dead_letters`, which is awaited before the key goes on. An error
    that is an answer rather than a failure, `retry_on(error)` being False, goes to the caller alone while there is one.
    In a pool, work must not block until other work of the same pool is done.
    """

    def __init__(
        self,
        name: str,
        *,
        concurrency: int = 256,
        mailbox: int = 64,
        queue: int = 10_000,
        attempts: int = 1,
        backoff: Callable[[int], float] = doubling,
        retry_on: Callable[[Exception], bool] = every_error,
        dead_letters: DeadLetters | None = None,
        pool: BlockingPool | None = None,
        clock: Clock | None = None,
        listeners: Listener | None = None,
    ) -> None:
        if concurrency < 1 or mailbox < 0 or queue < 0 or attempts < 1:
            raise ValueError("an executor needs concurrency and attempts of at least 1, bounds of 0 or more")
        self.name = name
        self.concurrency = min(concurrency, pool.size) if pool else concurrency
        self.mailbox = mailbox
        self.queue = queue
        self.attempts = attempts
        self.running = 0
        """Work that began and has not ended, that which pauses or waits for other work included."""
        self.waiting = 0
        """Work that was accepted and has not begun."""
        self.completed = 0
        """Work that returned."""
        self.rejected = 0
        """Work that was refused."""
        self.dead_letters = 0
        """Work that was given up."""
        self._backoff = backoff
        self._retry_on = retry_on
        self._letters = dead_letters
        self._pool = pool
        self._clock: Clock = clock or SystemClock()
        self._listeners = listeners
        self._boxes: dict[Hashable, Mailbox] = {}
        self._turns = Turns(self.concurrency, self._begin)
        self._closed = False
        self._cut = False
        self._rest = Rest(self._clock)

    @property
    def keys(self) -> int:
        """Keys that have work."""
        return len(self._boxes)

    def __repr__(self) -> str:
        return (
            f"KeyedExecutor({self.name!r}, running={self.running}, waiting={self.waiting}, keys={self.keys}, "
            f"completed={self.completed}, rejected={self.rejected}, dead_letters={self.dead_letters}"
            f"{', closed' if self._closed else ''})"
        )

    @overload
    async def submit(self, key: Hashable, call: Callable[..., Awaitable[T]], *args: Any) -> T: ...

    @overload
    async def submit(self, key: Hashable, call: Callable[..., T], *args: Any) -> T: ...

    async def submit(self, key: Hashable, call: Callable[..., Any], *args: Any) -> Any:
        """Return `call(*args)` when its turn has come; see `Executor.submit`."""
        future = asyncio.get_running_loop().create_future()
        job = self._accept(key, call, args, future, surrounding(), copy_context())
        try:
            return await future
        except asyncio.CancelledError:
            if job.stage is Stage.WAITING:
                self._take_back(job)
            job.leave()
            raise

    def post(self, key: Hashable, call: Callable[..., Any], *args: Any) -> None:
        """Hand work over without waiting for it; see `Executor.post`."""
        self._accept(key, call, args, None, None, detached())

    async def close(self, *, timeout: float) -> int:
        """Refuse new work, let what was accepted end, cut the rest after `timeout` seconds; see `Executor.close`."""
        self._closed = True
        cut = 0
        if self._boxes:
            await self._rest.wait(timeout)
        if self._boxes:
            cut = self._cut_short()
        if self._boxes:
            await self._rest.wait(GRACE)
        if self._listeners is not None:
            self._listeners(ExecutorClosed(self.name, cut))
        return cut

    def _accept(
        self,
        key: Hashable,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        future: asyncio.Future[Any] | None,
        parent: Job | None,
        context: Context,
    ) -> Job:
        box, turns = self._boxes.get(key), self._turns
        if box is not None or self._closed or turns.free <= 0:
            self._check(key, box, parent)
        if box is None:
            box = Mailbox(key)
        job = Job(box, call, args, future, turns, context)
        if parent is not None:
            parent.adopt(job)
        self._boxes[key] = box  # last: the permit that was lent may have emptied it
        if turns.free > 0 and box.job is None:  # beside a free permit nobody is ready, so it passes no one
            self._launch(job)
            return job
        box.waiting.append(job)
        self.waiting += 1
        if box.job is None:
            turns.queue(box)
        return job

    def _check(self, key: Hashable, box: Mailbox | None, parent: Job | None) -> None:
        """Raise what speaks against taking work for `key`."""
        nested = parent is not None and parent.turns is self._turns
        if self._closed and (self._cut or not nested):
            raise self._refusal(key, "closed", 0)
        if parent is not None and box is not None and (path := waits_for(box, parent)):
            raise Reentered(self.name, key, (parent.box.key, *path))
        free = self._turns.free + (parent is not None and nested and parent.permit)  # it lends its own
        if box is None and free > 0 and not self._turns:
            return
        if self.waiting >= self.queue:
            raise self._refusal(key, "queue", self.queue)
        if (0 if box is None else len(box.waiting)) >= self.mailbox:
            raise self._refusal(key, "mailbox", self.mailbox)

    def _refusal(self, key: Hashable, reason: Literal["mailbox", "queue", "closed"], limit: int) -> WorkRefused:
        self.rejected += 1
        if self._listeners is not None:
            self._listeners(TaskRejected(self.name, reason, limit))
        return WorkRefused(self.name, key, reason, limit=limit)

    def _take_back(self, job: Job) -> None:
        job.box.waiting.remove(job)
        job.end()
        self.waiting -= 1
        self._settle(job.box)

    def _begin(self, box: Mailbox) -> None:
        if box.job is not None:
            if box.resume is not None and not box.resume.done():
                self._turns.take(box.job)
                box.resume.set_result(None)
            return
        job = box.waiting.popleft()
        self.waiting -= 1
        if job.future is not None and job.future.done():  # its caller was cancelled in this very turn of the loop
            job.end()
            self._settle(box)
            return
        self._launch(job)

    def _launch(self, job: Job) -> None:
        self._turns.take(job)
        job.stage = Stage.BEGUN
        job.box.job = job
        self.running += 1
        job.task = asyncio.get_running_loop().create_task(self._run(job), context=job.context)

    async def _run(self, job: Job) -> None:
        enter(job)
        try:
            result = await self._try(job)
        except asyncio.CancelledError as error:
            if job.task is not None and job.task.cancelling():
                job.tell(error)
                raise
            job.answered = True
            await self._give_up(job, error)
        except Exception as error:
            await self._give_up(job, error)
        else:
            self.completed += 1
            job.answer(result)
        finally:
            self._end(job)

    async def _try(self, job: Job) -> Any:
        """Return what the first attempt that succeeds returns, or raise the error of the last one."""
        while True:
            job.attempts += 1
            try:
                return await self._attempt(job)
            except Exception as error:
                job.answered = not self._retry_on(error)
                if job.answered or job.cut or job.attempts >= self.attempts:
                    raise
                pause = self._backoff(job.attempts)
                if self._listeners is not None:
                    self._listeners(RetryScheduled(self.name, job.attempts, pause, type(error).__name__))
            await self._pause(job, pause)

    async def _attempt(self, job: Job) -> Any:
        # A coroutine of its own, so that a StopIteration is an ordinary error when it leaves, which a future can hold.
        if self._pool is None:
            result = job.call(*job.args)
        else:
            result = await self._pool.run(copy_context().run, job.call, *job.args)
        return await result if type(result) is CoroutineType or isinstance(result, Awaitable) else result

    async def _pause(self, job: Job, seconds: float) -> None:
        """Wait without a permit, then for one."""
        self._turns.give_back(job)
        self._turns.give()
        await self._clock.sleep(seconds)
        box = job.box
        box.resume = asyncio.get_running_loop().create_future()
        self._turns.queue(box)
        self._turns.give()
        await box.resume
        box.resume = None

    async def _give_up(self, job: Job, error: BaseException) -> None:
        """Tell whoever waits for `job` of its last error, and the dead letters when it is theirs as well."""
        if job.cut:
            return
        if job.answered and not job.unheard:
            job.tell(error)
            return
        self.dead_letters += 1
        if self._listeners is not None:
            self._listeners(TaskDeadLettered(self.name, job.attempts, type(error).__name__))
        job.tell(error)
        await deliver(DeadLetter(job.box.key, job.call, job.args, error, job.attempts), self._letters)

    def _end(self, job: Job) -> None:
        box = job.box
        box.job = None
        if box.resume is not None:  # it was cut while it paused
            box.resume = None
            self._turns.forget(box)
        self.running -= 1
        job.end()  # a parent takes its permit back before this one is given to anybody else
        self._turns.give_back(job)
        self._settle(box)
        self._turns.give()

    def _settle(self, box: Mailbox) -> None:
        """Let `box` have its next turn, or forget it when it has no work."""
        if box.job is not None:
            return
        if box.waiting:
            self._turns.queue(box)
            return
        self._turns.forget(box)
        del self._boxes[box.key]
        if not self._boxes:
            self._rest.reached()

    def _cut_short(self) -> int:
        """Refuse what waits, cancel what runs; return how much that was."""
        self._cut = True
        cut = self.running + self.waiting
        boxes = tuple(self._boxes.values())
        for box in boxes:
            for job in tuple(box.waiting):
                job.tell(WorkRefused(self.name, box.key, "closed"))
                self._take_back(job)
        for box in boxes:
            if (running := box.job) is not None and running.task is not None:
                running.cut = True
                running.tell(WorkCut(self.name, box.key))
                running.task.cancel()
                if not running.attempts:  # its task was to begin in this very turn, and now never will
                    self._end(running)
        return cut
