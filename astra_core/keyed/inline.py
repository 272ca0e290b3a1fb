"""An executor without bounds or pauses, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from astra_core.clock import SystemClock
from astra_core.detached import detached
from astra_core.errors import Reentered, WorkCut, WorkRefused
from astra_core.keyed.letters import DeadLetter, deliver
from astra_core.keyed.mailbox import Job, Mailbox, Stage, enter, leave, surrounding, waits_for
from astra_core.keyed.rest import GRACE, Rest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from astra_core.clock import Clock
    from astra_core.keyed.letters import DeadLetters

__all__ = ["InlineExecutor"]

T = TypeVar("T")


class InlineExecutor:
    """An `Executor` that runs work at once, in the caller's own task: its errors carry the whole way to it.

    Only work of the same key makes it wait, and only posted work has a task of its own. There are no bounds, and a
    failed attempt is followed by the next without a pause. A caller who is cancelled takes along work that has begun.
    """

    def __init__(
        self,
        name: str = "inline",
        *,
        attempts: int = 1,
        dead_letters: DeadLetters | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.attempts = attempts
        self._letters = dead_letters
        self._boxes: dict[Hashable, Mailbox] = {}
        self._rest = Rest(clock or SystemClock())
        self._closed = False
        self._cut = False

    def __repr__(self) -> str:
        return f"InlineExecutor({self.name!r}, keys={len(self._boxes)}{', closed' if self._closed else ''})"

    @overload
    async def submit(self, key: Hashable, call: Callable[..., Awaitable[T]], *args: Any) -> T: ...

    @overload
    async def submit(self, key: Hashable, call: Callable[..., T], *args: Any) -> T: ...

    async def submit(self, key: Hashable, call: Callable[..., Any], *args: Any) -> Any:
        """Return `call(*args)`, at once if no other work of `key` is under way; see `Executor.submit`."""
        job = self._accept(key, call, args, surrounding())
        job.task = asyncio.current_task()
        return await self._carry(job)

    def post(self, key: Hashable, call: Callable[..., Any], *args: Any) -> None:
        """Hand work over without waiting for it; see `Executor.post`."""
        job = self._accept(key, call, args, None)
        job.task = asyncio.get_running_loop().create_task(self._carry(job), context=detached())
        job.task.add_done_callback(lambda task: self._posted(job, task))

    async def close(self, *, timeout: float) -> int:
        """Refuse new work, let what was accepted end, cut the rest after `timeout` seconds; see `Executor.close`."""
        self._closed = True
        if self._boxes:
            await self._rest.wait(timeout)
        self._cut = True
        jobs = [job for box in self._boxes.values() for job in (*box.waiting, box.job) if job is not None]
        for job in jobs:
            job.cut = True
            if job.stage is Stage.WAITING:
                job.tell(WorkRefused(self.name, job.box.key, "closed"))
            elif job.task is not None:
                job.task.cancel()
        if self._boxes:
            await self._rest.wait(GRACE)
        return len(jobs)

    def _accept(self, key: Hashable, call: Callable[..., Any], args: tuple[Any, ...], parent: Job | None) -> Job:
        """Put work for `key` behind what is there, or let it begin."""
        nested = parent is not None and self._boxes.get(parent.box.key) is parent.box
        if self._closed and (self._cut or not nested):
            raise WorkRefused(self.name, key, "closed")
        box = self._boxes.setdefault(key, Mailbox(key))
        if parent is not None and (path := waits_for(box, parent)):
            raise Reentered(self.name, key, (parent.box.key, *path))
        job = Job(box, call, args)
        if parent is not None:
            parent.adopt(job)
        if box.job is None:
            box.job = job
            job.stage = Stage.BEGUN
        else:
            job.future = asyncio.get_running_loop().create_future()
            box.waiting.append(job)
        return job

    async def _carry(self, job: Job) -> Any:
        """Wait for the turn of `job`, and return what its last attempt returns."""
        token = None
        try:
            if job.future is not None:
                await job.future
            token = enter(job)
            return await self._try(job)
        except asyncio.CancelledError:
            if job.cut and job.task is not None and not job.task.uncancel():
                raise WorkCut(self.name, job.box.key) from None
            raise
        finally:
            if token is not None:
                leave(token)
            self._end(job)

    async def _try(self, job: Job) -> Any:
        while True:
            job.attempts += 1
            try:
                result = job.call(*job.args)
                return await result if isinstance(result, Awaitable) else result
            except Exception as error:
                if job.attempts >= self.attempts:
                    await deliver(DeadLetter(job.box.key, job.call, job.args, error, job.attempts), self._letters)
                    raise

    def _end(self, job: Job) -> None:
        """Take `job` out of its mailbox and give its turn, if it had it, to the next."""
        box, stage = job.box, job.stage
        job.end()
        if stage is Stage.WAITING:
            box.waiting.remove(job)
        if stage is not Stage.BEGUN:
            return
        box.job = None
        while box.waiting:
            following = box.waiting.popleft()
            if following.future is None or following.future.done():  # its caller was cancelled in this very turn
                following.end()
                continue
            box.job = following
            following.stage = Stage.BEGUN
            following.future.set_result(None)
            return
        del self._boxes[box.key]
        if not self._boxes:
            self._rest.reached()

    def _posted(self, job: Job, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # seen: the dead letters have it
        self._end(job)  # where it was cut before its first step
