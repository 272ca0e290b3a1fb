"""A thousand clients and a dependency that fails for half a minute, on a virtual clock, the same with every run.

The clients live in ten processes. Each process has a policy of its own for all of its clients. A client calls about
every two seconds; each call takes the dependency 20 ms, and while it is down fails after them. Parameters are the
library's defaults, but for the window of the retry budget: summed over ten seconds, as Finagle does it, a fifth of the
requests is two seconds' worth that may all go out in one; the last scenario shows that.

python -m tests.integration.resilience.simulation [PICTURE.svg]     prints the table, and draws it
"""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from astra_core.resilience.breaker import BreakerState, CircuitBreaker
from astra_core.resilience.breaker_parameters import BreakerParameters
from astra_core.resilience.budget import RetryBudget, RetryBudgetParameters
from astra_core.resilience.deadline import DeadlineParameters, Deadlines, own_deadline_expired
from astra_core.resilience.policy import Policy
from astra_core.resilience.retry import RetryParameters, RetryPolicy
from astra_core.resilience.sweep import Sweep

__all__ = ["SCENARIOS", "Outcome", "Setting", "simulate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Who calls how often, and when the dependency is down; times in seconds from the start."""

    clients: int = 1_000
    processes: int = 10
    period: float = 2.0
    latency: float = 0.02
    fails_at: float = 15.0
    returns_at: float = 45.0
    ends_at: float = 90.0
    seed: int = 1

    @property
    def rate(self) -> float:
        """Calls a second while all is well."""
        return self.clients / self.period


@dataclass(slots=True)
class Outcome:
    """What reached the dependency and when, and when users were failed."""

    setting: Setting
    calls: list[float] = field(default_factory=list)
    last_failure: list[float] = field(default_factory=list)
    """When the last call of a user began that failed, by process."""
    open_for: list[float] = field(default_factory=list)
    """The open duration of the breaker in force when the dependency returned, by process; 0 without one."""

    def peak(self) -> float:
        """The most calls in any one second, wherever it begins, by the healthy rate."""
        most = first = 0
        for last, at in enumerate(self.calls):
            while self.calls[first] <= at - 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most / self.setting.rate

    def while_down(self) -> int:
        """Calls that reached the dependency while it was down."""
        return sum(self.setting.fails_at <= at < self.setting.returns_at for at in self.calls)

    def recovered_after(self) -> list[float]:
        """Seconds from the dependency's return until no call of a user failed any more, by process."""
        return [max(0.0, last - self.setting.returns_at) for last in self.last_failure]

    def rates(self, width: float = 1.0) -> list[float]:
        """Calls a second, for each piece of time of that width."""
        counts = [0] * int(self.setting.ends_at / width)
        for at in self.calls:
            if at < self.setting.ends_at:
                counts[int(at / width)] += 1
        return [count / width for count in counts]


class _VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is what its timers say: where others would wait, it jumps."""

    def __init__(self) -> None:
        super().__init__(selectors.SelectSelector())
        self._virtual = 0.0
        poll = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None = None) -> Any:
            self._virtual += timeout or 0.0
            return poll(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._virtual


class _Clock:
    def __init__(self, loop: _VirtualLoop) -> None:
        self.monotonic = loop.time

    def time(self) -> float:
        return 1_700_000_000.0 + self.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


Build = Callable[[_Clock, Random], Policy]


def no_policy(clock: _Clock, random: Random) -> Policy:
    """The call itself."""
    return Policy(name="dependency")


def retries_alone(clock: _Clock, random: Random) -> Policy:
    """Three tries with full jitter, and nothing that bounds them."""
    retry = RetryPolicy("dependency", sweep=Sweep(clock=clock), random=random, parameters=RetryParameters())
    return Policy(name="dependency", retry=retry).idempotent


def everything(clock: _Clock, random: Random) -> Policy:
    """Deadline, the same retries under a budget that holds in every second, and a breaker."""
    return _guarded(clock, random, RetryBudgetParameters(ratio=0.2, floor=1.0, window=1.0))


def everything_over_ten_seconds(clock: _Clock, random: Random) -> Policy:
    """The same with Finagle's own figures for the budget."""
    return _guarded(clock, random, RetryBudgetParameters(ratio=0.2, floor=10.0, window=10.0))


def _guarded(clock: _Clock, random: Random, budget: RetryBudgetParameters) -> Policy:
    sweep = Sweep(clock=clock)
    return Policy(
        name="dependency",
        deadline=Deadlines("dependency", sweep=sweep, parameters=DeadlineParameters(budget=2.0)),
        retry=RetryPolicy("dependency", sweep=sweep, random=random, budget=RetryBudget(parameters=budget, clock=clock)),
        breaker=CircuitBreaker(
            name="dependency",
            parameters=BreakerParameters(),
            clock=clock,
            random=random,
            cancellation_is_failure=own_deadline_expired,
        ),
    ).idempotent


SCENARIOS: dict[str, Build] = {
    "no policy": no_policy,
    "retries alone": retries_alone,
    "retries + budget + breaker": everything,
    "the same, budget over 10 s": everything_over_ten_seconds,
}


def simulate(build: Build, setting: Setting) -> Outcome:
    """Run one scenario to its end."""
    loop = _VirtualLoop()
    try:
        return loop.run_until_complete(_run(build, setting, _Clock(loop)))
    finally:
        loop.close()


async def _run(build: Build, setting: Setting, clock: _Clock) -> Outcome:
    outcome, random = Outcome(setting, last_failure=[0.0] * setting.processes), Random(setting.seed)
    policies = [build(clock, Random(random.random())) for _ in range(setting.processes)]

    async def dependency() -> None:
        at = clock.monotonic()
        outcome.calls.append(at)
        await clock.sleep(setting.latency)
        if setting.fails_at <= at < setting.returns_at:
            raise ConnectionResetError

    async def client(process: int) -> None:
        due = random.uniform(0, setting.period)
        while due < setting.ends_at:
            await clock.sleep(max(0.0, due - clock.monotonic()))
            began = clock.monotonic()
            try:
                await policies[process].call(dependency)
            except Exception:
                outcome.last_failure[process] = max(began, outcome.last_failure[process])
            due += setting.period * random.uniform(0.8, 1.2)

    async def look() -> None:
        await clock.sleep(setting.returns_at)
        outcome.open_for = [_pause(policy) for policy in policies]

    await asyncio.gather(look(), *(client(n % setting.processes) for n in range(setting.clients)))
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    return outcome


def _pause(policy: Policy) -> float:
    breaker = policy.breaker
    if not isinstance(breaker, CircuitBreaker) or breaker.circuit_state is BreakerState.CLOSED:
        return 0.0
    return breaker.snapshot().open_seconds


def table(outcomes: dict[str, Outcome]) -> str:
    """The figures as lines of text."""
    lines = [f"{'':28}{'calls':>8}{'while down':>12}{'peak':>8}{'recovered after':>17}{'open duration':>15}"]
    for name, outcome in outcomes.items():
        longest = f"{max(outcome.open_for):.1f} s" if any(outcome.open_for) else ""
        lines.append(
            f"{name:28}{len(outcome.calls):8,}{outcome.while_down():12,}{outcome.peak():7.2f}x"
            f"{max(outcome.recovered_after()):15.1f} s{longest:>15}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    from tests.integration.resilience.picture import draw

    results = {name: simulate(build, Setting()) for name, build in SCENARIOS.items()}
    print(table(results))
    for picture in sys.argv[1:]:
        Path(picture).write_text(draw(results), encoding="utf-8")
