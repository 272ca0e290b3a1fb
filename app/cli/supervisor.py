"""The parent of the workers: starts them, replaces those that die, passes the order to stop on.

Both servers have a parent of their own and neither keeps our promises: hypercorn's ends the whole service with exit
code 0 when one worker dies, uvicorn's returns 0 for workers that could not start, and both leave orphans that hold
the port.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.main.children import Worker, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["RestartPolicy", "StartFailed", "Supervisor"]


class StartFailed(Exception):  # noqa: N818 - a fact, not a fault of this program
    """Workers cannot start and none serves; the text is the last reason given."""


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """How a dead worker is replaced. Times in seconds.

    The pause before the n-th replacement in a row is `first_pause` doubled n times, at most `longest_pause`; a worker
    that served for `steady_after` ends the row. `attempts` failed starts in a row, with no worker serving, end it all.
    """

    attempts: int = 3
    first_pause: float = 0.1
    longest_pause: float = 5.0
    steady_after: float = 10.0
    start_timeout: float = 60.0

    def pause(self, row: int) -> float:
        """The pause after `row` ends in a row."""
        return min(self.longest_pause, self.first_pause * 2.0 ** min(row - 1, 16))


class Supervisor:
    """Keeps `workers` children alive until SIGTERM or SIGINT.

    The first child starts alone: it creates what is missing in the store, and what stops it is said once, not N times.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        workers: int,
        fds: Sequence[int],
        environ: Mapping[str, str],
        stop_timeout: float,
        on_ready: Callable[[], object],
        say: Callable[[str], object],
        policy: RestartPolicy = RestartPolicy(),
    ) -> None:
        self._command = tuple(command)
        self._count = workers
        self._fds = tuple(fds)
        self._environ = dict(environ)
        self._stop_timeout = stop_timeout
        self._on_ready = on_ready
        self._say = say
        self._policy = policy
        self._alive: set[Worker] = set()
        self._serving: set[Worker] = set()
        self._first_ready = asyncio.Event()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to stop; raises `StartFailed` when it cannot. No child is left when it returns."""
        self._take_signals()
        slots = asyncio.create_task(self._keep_all())
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((slots, stop), return_when=asyncio.FIRST_COMPLETED)
            if not self._stop.is_set():
                slots.result()
        finally:
            slots.cancel()
            stop.cancel()
            await asyncio.gather(slots, stop, return_exceptions=True)
            await self._stop_all()
            for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                asyncio.get_running_loop().remove_signal_handler(signum)

    def stop(self) -> None:
        """Order the end, as SIGTERM does."""
        self._stop.set()

    async def _keep_all(self) -> None:
        first = asyncio.create_task(self._keep_one())
        rest = (asyncio.create_task(self._keep_later()) for _ in range(self._count - 1))
        await _first_error((first, *rest))

    async def _keep_later(self) -> None:
        await self._first_ready.wait()
        await self._keep_one()

    async def _keep_one(self) -> None:
        row = failed = 0
        while True:
            what, served = await self._run_one()
            failed = failed + 1 if served is None and not self._serving else 0
            if failed >= self._policy.attempts:
                raise StartFailed(what)
            row = 1 if served is not None and served >= self._policy.steady_after else row + 1
            pause = self._policy.pause(row)
            if self._first_ready.is_set():
                self._say(f"{what}; starting another in {pause:.1f} s")
            await asyncio.sleep(pause)

    async def _run_one(self) -> tuple[str, float | None]:
        """Run one worker to its end; return what became of it and how long it served, None if it did not start."""
        try:
            worker = await Worker.start(self._command, fds=self._fds, environ=self._environ)
        except OSError as error:
            return f"a worker could not be started: {error}", None
        self._alive.add(worker)
        refusal = await worker.refusal(within=self._policy.start_timeout)
        if refusal is None:
            loop = asyncio.get_running_loop()
            since = loop.time()
            what = f"worker {worker.pid} {describe(await self._serve(worker))}"
            served = loop.time() - since
        else:
            what, served = refusal, None
            await worker.ended()
        self._alive.discard(worker)
        return what, served

    async def _serve(self, worker: Worker) -> int:
        self._serving.add(worker)
        if not self._first_ready.is_set():
            self._first_ready.set()
            self._on_ready()
        try:
            return await worker.ended()
        finally:
            self._serving.discard(worker)

    async def _stop_all(self) -> None:
        ends = [asyncio.create_task(worker.ended()) for worker in self._alive]
        for worker in self._alive:
            worker.terminate()
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=self._stop_timeout)
        if late:
            self._say(f"{len(late)} of {len(ends)} workers did not end within {self._stop_timeout:g} s and were killed")
            self._kill_all()
            await asyncio.wait(late)

    def _kill_all(self) -> None:
        for worker in self._alive:
            worker.kill()

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        """Have every worker read its settings again; one that is starting reads them later, and hears this then."""
        for worker in self._alive:
            worker.reload()

    def _interrupt(self) -> None:
        if self._stop.is_set():
            self._kill_all()  # a second Ctrl-C means: now
        self.stop()


async def _first_error(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Wait until one of `tasks` fails; the others do not outlive it."""
    group = tuple(tasks)
    try:
        await asyncio.gather(*group)
    finally:
        for task in group:
            task.cancel()
        await asyncio.gather(*group, return_exceptions=True)
