"""Probing in the background: the pause ends with calls of our own, and no user's request is spent on it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from astra_core.resilience.breaker_circuit import Refusal
from astra_core.resilience.breaker_states import BreakerState, ProbesFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import TypeAlias

    from astra_core.clock import Clock
    from astra_core.resilience.breaker_circuit import Circuit

    Probe: TypeAlias = Callable[[], Awaitable[object]]
    Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

__all__ = ["Prober"]

_log = logging.getLogger("astra.resilience")

_PROBED = (BreakerState.OPEN, BreakerState.HALF_OPEN)
_AGAIN = 1.0
"""Seconds before the next try, when a probe said nothing or there was no place for it."""


class Prober:
    """Runs `probe` while a circuit is open or half-open, in one task that `spawn` makes, and closes it after the ramp.

    The task belongs to whoever spawned it, who may cancel it at shutdown. When it dies, calls become probes again.
    """

    def __init__(
        self,
        circuit: Circuit,
        *,
        probe: Probe,
        spawn: Spawn,
        clock: Clock,
        report: Callable[[Awaitable[object]], Coroutine[Any, Any, bool]],
    ) -> None:
        self._circuit = circuit
        self._probe = probe
        self._spawn = spawn
        self._clock = clock
        self._report = report
        self._task: asyncio.Task[None] | None = None

    def moved(self, state: BreakerState) -> None:
        """Begin or end with the state, unless it is the prober itself that moved it."""
        if self._task is not None and not self._task.done():
            if self._task is _current_task():
                return
            self._task.cancel()
        self._task = None
        if state not in _PROBED:
            return
        work = self._run()
        try:
            self._task = self._spawn(work)
        except Exception:
            work.close()
            _log.exception("no task for background probes: calls will be the probes")

    async def _run(self) -> None:
        circuit = self._circuit
        while circuit.state in _PROBED:
            if circuit.state is BreakerState.OPEN and (seconds := circuit.wait()) > 0:
                await self._clock.sleep(seconds)
                continue
            try:
                circuit.take_background_probe()
            except Refusal:
                await self._clock.sleep(_AGAIN)
                continue
            if not await self._report(self._limited()):
                await self._clock.sleep(_AGAIN)
        while circuit.state is BreakerState.RAMPING:  # whoever looks then sees it closed, though no call came
            await self._clock.sleep(circuit.ramp_left())
            circuit.end_ramp()

    async def _limited(self) -> object:
        """Await the probe, at most as long as the parameters let it run."""
        limit, generation = self._circuit.parameters.probe_wait, self._circuit.generation
        if limit is None:
            return await self._probe()
        work, timer = asyncio.ensure_future(self._probe()), asyncio.ensure_future(self._clock.sleep(limit))
        try:
            await asyncio.wait((work, timer), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if generation == self._circuit.generation:
                self._circuit.move(ProbesFailed("a probe had no result in time"))
            return None
        finally:
            work.cancel()
            timer.cancel()
            await asyncio.wait((work, timer))


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
