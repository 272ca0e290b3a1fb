"""A circuit breaker: `aiobreaker.CircuitBreaker` with its faults mended, and more.

Source of the pattern: Michael Nygard, "Release It!". One file each: what it is told (`breaker_parameters`), what it
counts (`window`), which outcomes count (`breaker_outcomes`), its states and how they follow each other
(`breaker_states`, `breaker_circuit`), how a call is made (`breaker_calls`), probes in the background (`breaker_probe`),
a shared storage (`breaker_storage`), aiobreaker's names (`breaker_surface`, `breaker_facade`), telling others
(`breaker_announce`). This file puts them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

from aiobreaker import CircuitBreakerState
from aiobreaker.storage.memory import CircuitMemoryStorage

from astra_core.clock import SystemClock
from astra_core.resilience.breaker_announce import event_of, publish, tell
from astra_core.resilience.breaker_calls import Calls
from astra_core.resilience.breaker_circuit import Circuit
from astra_core.resilience.breaker_facade import BreakerOpen, facade_of
from astra_core.resilience.breaker_outcomes import Classifier, never
from astra_core.resilience.breaker_parameters import BreakerParameters
from astra_core.resilience.breaker_probe import Prober
from astra_core.resilience.breaker_states import (
    OVERRIDES,
    BreakerState,
    Close,
    Disable,
    ForceOpen,
    HalfOpen,
    MetricsOnly,
    Open,
)
from astra_core.resilience.breaker_storage import StorageLink, in_default_executor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiobreaker import CircuitBreakerListener
    from aiobreaker.storage.base import CircuitBreakerStorage

    from astra_core.clock import Clock
    from astra_core.events import Listener
    from astra_core.resilience.breaker_probe import Probe, Spawn
    from astra_core.resilience.breaker_states import Move
    from astra_core.resilience.breaker_storage import Offload, Shared

__all__ = ["BreakerOpen", "BreakerParameters", "BreakerSnapshot", "BreakerState", "CircuitBreaker"]

_SHARED = "the shared storage says so"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSnapshot:
    """A breaker at one moment: its state, what its window holds, and seconds until calls may come again."""

    name: str
    state: BreakerState
    calls: int
    failure_rate: float
    slow_rate: float
    consecutive_failures: int
    retry_after: float
    open_seconds: float
    generation: int


class CircuitBreaker(Calls):
    """Stops calling what fails, and finds out gently when it works again.

    `await breaker.call(fn, …)` for a coroutine function, or what returns an awaitable; `breaker.call(fn, …)` for a
    plain function or a generator; `await breaker.call_async(fn, …)` always awaits; `@breaker` decorates. A refused call
    raises `BreakerOpen` and `fn` is not called. As in aiobreaker, the failed call that opens it raises `BreakerOpen`
    too, from its own error; with `raise_original` it raises its own error.

    Positional arguments are aiobreaker's. `parameters` replaces `fail_max` and `timeout_duration`, and may be replaced
    while it runs. Predicates: see `Classifier`. `events` hears of every change and refusal. With `probe` and `spawn`
    it probes in the background (see `Prober`). A `state_storage` of your own is shared: see `StorageLink`.

    One event loop, or one thread, to a breaker.
    """

    def __init__(
        self,
        fail_max: int | None = None,
        timeout_duration: timedelta | None = None,
        exclude: Iterable[Callable[..., Any] | type[BaseException]] | None = None,
        listeners: Iterable[CircuitBreakerListener] | None = None,
        state_storage: CircuitBreakerStorage | None = None,
        name: str | None = None,
        *,
        parameters: BreakerParameters | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        events: Listener | None = None,
        is_failure: Callable[[Exception], bool] | None = None,
        ignore: Callable[[Exception], bool] | None = None,
        is_failed_result: Callable[[object], bool] | None = None,
        ignore_result: Callable[[object], bool] | None = None,
        cancellation_is_failure: Callable[[], bool] = never,
        raise_original: bool = False,
        probe: Probe | None = None,
        spawn: Spawn | None = None,
        storage_refresh: float = 1.0,
        storage_offload: Offload = in_default_executor,
    ) -> None:
        if (probe is None) is not (spawn is None):
            raise TypeError("a background probe needs both probe and spawn")
        self._clock: Clock = clock or SystemClock()
        self._now = self._clock.monotonic
        self._events = None
        self._prober: Prober | None = None
        self._raise_original = raise_original
        self._classifier = Classifier(
            is_failure=is_failure, ignore=ignore, is_failed_result=is_failed_result, ignore_result=ignore_result,
            cancellation_is_failure=cancellation_is_failure,
        )  # fmt: skip
        self._judges_results = self._classifier.judges_results
        self._circuit = Circuit(
            _parameters(parameters, fail_max, timeout_duration),
            clock=self._clock,
            random=random or Random(),  # noqa: S311 - jitter
            moved=self._moved,
            background=probe is not None,
        )
        storage = CircuitMemoryStorage(CircuitBreakerState.CLOSED) if state_storage is None else state_storage
        self._link = StorageLink(
            storage, adopt=self._adopt, clock=self._clock, refresh=storage_refresh, offload=storage_offload
        )
        self._follows = self._adopting = False
        super().__init__(exclude=exclude, state_storage=storage, name=name)
        self._link.begin()
        self._follows = state_storage is not None
        self._listeners = list(listeners or ())
        self._events = events
        if probe is not None and spawn is not None:
            self._prober = Prober(self._circuit, probe=probe, spawn=spawn, clock=self._clock, report=self._report)
            self._prober.moved(self._circuit.state)

    # --- what it is told and what it says

    @property
    def parameters(self) -> BreakerParameters:
        """The knobs in force. New ones keep the state; only a window of another shape begins empty."""
        return self._circuit.parameters

    @parameters.setter
    def parameters(self, parameters: BreakerParameters) -> None:
        self._circuit.parameters = parameters
        if self._prober is not None:
            self._prober.moved(self._circuit.state)

    @property
    def circuit_state(self) -> BreakerState:
        """The state in our words. Reading it changes nothing: a pause that is over ends with the next call."""
        return self._circuit.state

    @property
    def generation(self) -> int:
        """How many times the state was entered anew; a result of an older generation is dropped."""
        return self._circuit.generation

    @property
    def consecutive_failures(self) -> int:
        """Failures in a row; what counts neither way does not end the row."""
        return self._circuit.failures_in_row

    @property
    def retry_after(self) -> float:
        """Seconds after which a call that would be refused now makes sense; 0 where none is refused."""
        return self._circuit.wait()

    def snapshot(self) -> BreakerSnapshot:
        """What there is to know now, for readiness and metrics."""
        circuit = self._circuit
        counts = circuit.window.counts(self._now())
        return BreakerSnapshot(
            name=self.name or "",
            state=circuit.state,
            calls=counts.calls,
            failure_rate=counts.failure_rate,
            slow_rate=counts.slow_rate,
            consecutive_failures=circuit.failures_in_row,
            retry_after=circuit.wait(),
            open_seconds=circuit.open_seconds,
            generation=circuit.generation,
        )

    def __repr__(self) -> str:
        now = self.snapshot()
        wait = f", {now.retry_after:.1f} s left" if now.retry_after else ""
        return (
            f"<CircuitBreaker {now.name!r} {now.state}{wait}: {now.failure_rate:.1%} failed, {now.slow_rate:.1%} slow "
            f"of {now.calls} calls, {now.consecutive_failures} failures in a row, generation {now.generation}>"
        )

    # --- by hand

    def force_open(self) -> None:
        """Let no call pass until `reset`, `close`, `open` or `half_open`."""
        self._circuit.move(ForceOpen())

    def disable(self) -> None:
        """Let every call pass and count none."""
        self._circuit.move(Disable())

    def metrics_only(self) -> None:
        """Let every call pass and count it; never open."""
        self._circuit.move(MetricsOnly())

    def reset(self) -> None:
        """Close it, forget every call, and let the pause begin small again."""
        self.close()

    # --- moves

    def _moved(self, before: BreakerState, event: Move) -> None:
        circuit, old = self._circuit, self._state
        state = facade_of(circuit.state)
        if not self._adopting and circuit.state not in OVERRIDES:
            self._link.moved(state, self._utc_now() if circuit.state is BreakerState.OPEN else None)
        if state is not old.state or before is circuit.state:
            self._state = self._create_new_state(state)
            tell(self._listeners, "state_change", self, old, self._state)
        if self._events is not None:
            publish(self._events, event_of(self.name or "", circuit, event, self._now()))
        if self._prober is not None:
            self._prober.moved(circuit.state)

    def _adopt(self, shared: Shared) -> None:
        """Follow a state that another breaker wrote to the storage, unless an operator holds this one."""
        circuit = self._circuit
        if circuit.state in OVERRIDES or facade_of(circuit.state) is shared.state:
            return
        self._adopting = True
        try:
            if shared.state is CircuitBreakerState.OPEN:
                circuit.move(Open(_SHARED, self._age(shared.opened_at)))
            else:
                circuit.move(HalfOpen(_SHARED) if shared.state is CircuitBreakerState.HALF_OPEN else Close(_SHARED))
        finally:
            self._adopting = False

    def _age(self, opened_at: datetime | None) -> float:
        """Seconds since `opened_at`, which aiobreaker stores as naive UTC; never negative, whatever a clock says."""
        return inf if opened_at is None else max(0.0, (self._utc_now() - opened_at).total_seconds())

    def _utc_now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC).replace(tzinfo=None)


def _parameters(
    parameters: BreakerParameters | None, fail_max: int | None, timeout_duration: timedelta | None
) -> BreakerParameters:
    if parameters is None:
        open_for = 60.0 if timeout_duration is None else timeout_duration.total_seconds()
        return BreakerParameters.consecutive(5 if fail_max is None else fail_max, open_for=open_for)
    if fail_max is not None or timeout_duration is not None:
        raise TypeError("parameters replaces fail_max and timeout_duration: give one or the other")
    return parameters
