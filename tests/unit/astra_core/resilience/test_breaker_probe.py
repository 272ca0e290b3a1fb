"""Background probes: the breaker finds out by itself, and no user's request is spent on it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.errors import Overloaded
from astra_core.resilience.breaker import BreakerOpen, BreakerParameters, CircuitBreaker
from astra_core.testing import FakeClock
from tests.unit.astra_core.resilience.breaker_driver import Boom, Log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

PARAMETERS = replace(BreakerParameters.consecutive(1, open_for=10.0), probes=2, probe_wait=5.0)


class Dependency:
    """Ends each probe as it is told."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.outcome: object = "fine"
        self.seconds = 0.0
        self.probes = 0
        self.hung = 0

    async def probe(self) -> object:
        """One probe."""
        self.probes += 1
        await self.clock.sleep(self.seconds)
        if self.outcome == "hang":
            self.hung += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.hung -= 1
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


class Scene:
    """A breaker with a prober, its clock and its dependency; `tasks` are those it spawned."""

    def __init__(self, parameters: BreakerParameters = PARAMETERS, **options: Any) -> None:
        self.clock, self.log = FakeClock(), Log()
        self.dependency = Dependency(self.clock)
        self.tasks: list[asyncio.Task[None]] = []
        self.breaker = CircuitBreaker(
            parameters=parameters, clock=self.clock, events=self.log, probe=self.dependency.probe, spawn=self.spawn,
            ignore=lambda error: isinstance(error, KeyError), **options,
        )  # fmt: skip

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Make a task, and remember it."""
        self.tasks.append(asyncio.create_task(work))
        return self.tasks[-1]

    @property
    def running(self) -> int:
        """Tasks that have not ended."""
        return sum(not task.done() for task in self.tasks)

    @property
    def state(self) -> str:
        """The breaker's state."""
        return self.breaker.circuit_state.value

    def trip(self) -> None:
        """Let one call fail."""
        with pytest.raises(BreakerOpen):
            self.breaker.call(self._fail)

    def _fail(self) -> None:
        raise Boom

    def passes(self) -> bool:
        """Whether a user's call passes."""
        try:
            return bool(self.breaker.call(lambda: True))
        except BreakerOpen:
            return False


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """A scene whose tasks are ended with the test."""
    scene = Scene()
    yield scene
    for task in scene.tasks:
        task.cancel()
    await asyncio.gather(*scene.tasks, return_exceptions=True)


async def test_probes_alone_close_it_and_users_are_refused_meanwhile(scene: Scene) -> None:
    """No call is made before the pause is over, and then as many as the parameters ask; nothing is left running."""
    scene.trip()
    await scene.clock.run_for(9.9)
    assert (scene.dependency.probes, scene.state, scene.passes()) == (0, "open", False)
    await scene.clock.run_for(0.1)
    assert (scene.dependency.probes, scene.state, scene.passes()) == (2, "closed", True)
    assert scene.running == 0


async def test_the_ramp_ends_though_no_call_comes() -> None:
    """Whoever looks at the breaker after the ramp finds it closed, and its task has ended."""
    scene = Scene(replace(PARAMETERS, ramp=0.5))
    scene.trip()
    await scene.clock.run_for(10)
    assert (scene.state, scene.breaker.retry_after) == ("ramping", 1.0)
    await scene.clock.run_for(4.9)
    assert (scene.state, scene.running) == ("ramping", 1)
    await scene.clock.run_for(0.2)
    assert (scene.state, scene.breaker.retry_after, scene.running) == ("closed", 0.0, 0)


async def test_users_are_refused_though_the_pause_is_over(scene: Scene) -> None:
    """A request that comes before the probe, or while it runs, is not spent on finding out."""
    scene.trip()
    scene.dependency.outcome = "hang"
    scene.clock.advance(10)
    assert (scene.passes(), scene.state) == (False, "open")
    await scene.clock.run_for(1)
    assert (scene.passes(), scene.state, scene.dependency.probes) == (False, "half-open", 1)


async def test_failed_probes_open_it_again_for_a_longer_pause() -> None:
    """The same task goes on, until one succeeds."""
    scene = Scene(replace(PARAMETERS, open_multiplier=2.0))
    scene.dependency.outcome = Boom()
    scene.trip()
    await scene.clock.run_for(10)
    assert (scene.dependency.probes, scene.state, scene.breaker.retry_after) == (1, "open", 20.0)
    await scene.clock.run_for(20)
    assert (scene.dependency.probes, scene.breaker.retry_after) == (2, 40.0)
    scene.dependency.outcome = "fine"
    await scene.clock.run_for(40)
    assert (scene.state, scene.running, len(scene.tasks)) == ("closed", 0, 1)


async def test_a_probe_that_hangs_is_cut_off(scene: Scene) -> None:
    """After `probe_wait` it counts as failed, and it is cancelled."""
    scene.dependency.outcome = "hang"
    scene.trip()
    await scene.clock.run_for(14.9)
    assert (scene.state, scene.dependency.hung) == ("half-open", 1)
    await scene.clock.run_for(0.1)
    assert (scene.state, scene.dependency.hung) == ("open", 0)
    assert scene.log.named("BreakerOpened")[-1].reason == "a probe had no result in time"
    scene.dependency.outcome = "fine"
    await scene.clock.run_for(10)
    assert scene.state == "closed"


@pytest.mark.parametrize("outcome", [KeyError(), Overloaded("queue", limit=1)], ids=["ignored", "limiter"])
async def test_a_probe_that_says_nothing_is_repeated_at_leisure(scene: Scene, outcome: Exception) -> None:
    """Once a second, not in a loop without a pause."""
    scene.dependency.outcome = outcome
    scene.trip()
    await scene.clock.run_for(10)
    for probes in (1, 2, 3):
        await scene.clock.run_for(0.9)
        assert (scene.state, scene.dependency.probes) == ("half-open", probes)
        await scene.clock.run_for(0.1)
    scene.dependency.outcome = "fine"
    await scene.clock.run_for(1)
    assert scene.state == "closed"


async def test_a_prober_at_work_is_trusted_however_long_its_probes_take_together() -> None:
    """Each has its time, and no user's call is taken for one in the meantime."""
    scene = Scene(replace(PARAMETERS, probes=4))
    scene.dependency.seconds = 4.0
    scene.trip()
    await scene.clock.run_for(10)
    for _ in range(15):
        assert (scene.passes(), scene.state) == (False, "half-open")
        await scene.clock.run_for(1)
    await scene.clock.run_for(1)
    assert (scene.dependency.probes, scene.state) == (4, "closed")


async def test_orders_end_the_probing(scene: Scene) -> None:
    """Closed by hand, no probe comes; opened by hand, probes begin anew, one task at a time."""
    scene.trip()
    await scene.clock.run_for(5)
    scene.breaker.reset()
    await scene.clock.run_for(60)
    assert (scene.dependency.probes, scene.running) == (0, 0)
    scene.breaker.open()
    scene.breaker.open()
    await scene.clock.run_for(1)
    assert scene.running == 1
    await scene.clock.run_for(9)
    assert (scene.dependency.probes, scene.state) == (2, "closed")


async def test_a_pause_that_new_parameters_shorten_is_probed_sooner(scene: Scene) -> None:
    """The prober does not sleep on."""
    scene.trip()
    await scene.clock.run_for(1)
    scene.breaker.parameters = replace(PARAMETERS, open_for=3.0)
    await scene.clock.run_for(2)
    assert scene.state == "closed"


async def test_calls_are_probes_again_when_the_prober_died(scene: Scene) -> None:
    """Whoever owns its task may have ended it: after a while a call is a probe, and brings a new prober."""
    scene.trip()
    await scene.clock.run_for(1)
    scene.tasks[0].cancel()
    await scene.clock.run_for(13.9)
    assert (scene.passes(), scene.state) == (False, "open")
    await scene.clock.run_for(0.1)
    assert (scene.passes(), scene.passes(), scene.state) == (True, False, "half-open")
    await scene.clock.run_for(0)
    assert (scene.dependency.probes, scene.state) == (1, "closed")


async def test_a_prober_that_dies_in_half_open_is_missed_too(scene: Scene) -> None:
    """The permit that it held is given back, and after a while calls are the probes."""
    scene.dependency.outcome = "hang"
    scene.trip()
    await scene.clock.run_for(11)
    scene.tasks[0].cancel()
    await scene.clock.run_for(3.9)
    assert (scene.passes(), scene.state) == (False, "half-open")
    await scene.clock.run_for(0.1)
    assert (scene.passes(), scene.passes(), scene.state) == (True, True, "closed")


async def test_without_a_task_calls_are_probes(caplog: pytest.LogCaptureFixture) -> None:
    """A spawner that refuses is logged, and no coroutine is left that was never awaited."""

    def refuse(_: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        raise RuntimeError("shutting down")

    clock = FakeClock()
    breaker = CircuitBreaker(parameters=PARAMETERS, clock=clock, probe=Dependency(clock).probe, spawn=refuse)
    breaker.open()
    assert "no task for background probes" in caplog.text
    clock.advance(15)
    assert breaker.call(lambda: "passed") == "passed"
