"""How a breaker makes a call: through the gate, with the clock running, and the outcome reported.

The way of a good call through a closed breaker is short on purpose: no question about states, two reads of the clock,
a byte in the window.
"""

from __future__ import annotations

import inspect
import logging
from types import GeneratorType
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from astra_core.events.breaker import CallRejected
from astra_core.resilience.breaker_announce import FailedResult, publish, tell
from astra_core.resilience.breaker_circuit import Refusal
from astra_core.resilience.breaker_facade import BreakerOpen
from astra_core.resilience.breaker_outcomes import Classifier, Verdict
from astra_core.resilience.breaker_states import BreakerState
from astra_core.resilience.breaker_surface import Surface

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from astra_core.events import Listener

__all__ = ["Calls", "Permit"]

T = TypeVar("T")

_log = logging.getLogger("astra.resilience")

_COROUTINE_FUNCTION = 0x80
"""`inspect.CO_COROUTINE`. Reading the flag costs a tenth of `inspect.iscoroutinefunction`."""


class Permit(Struct, frozen=True, gc=False):
    """A call that was let through: in which generation, and when."""

    generation: int
    started: float


class Calls(Surface):
    """The part of a breaker that calls. `breaker.CircuitBreaker` is the whole."""

    _classifier: Classifier
    _judges_results: bool
    _events: Listener | None
    _follows: bool
    """Others may write to the storage, so it is looked at before each call."""
    _now: Callable[[], float]
    _raise_original: bool

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `func` if the breaker lets it, else raise `BreakerOpen`. Await this where `func` would be awaited."""
        try:
            if func.__code__.co_flags & _COROUTINE_FUNCTION:
                return self._guarded(func, args, kwargs)
        except AttributeError:  # a partial, a builtin, an object
            if inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(type(func).__call__):
                return self._guarded(func, args, kwargs)
        if self._decorates and getattr(func, "_ignore_on_call", None) is self:
            return func(*args, **kwargs)
        self._admit()
        if self._listeners:
            tell(self._listeners, "before_call", self, func, *args, **kwargs)
        generation, started = self._circuit.generation, self._now()
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            self._raised(error, generation, started)
            raise
        if isinstance(result, GeneratorType):
            return self._generate(result, generation, started)
        if hasattr(type(result), "__await__"):
            return self._await(result, generation, started)
        self._returned(result, generation, started)
        return result

    def call_async(self, func: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> Coroutine[Any, Any, T]:
        """Return `await func(…)` if the breaker lets it; raises `BreakerOpen`."""
        return self._guarded(func, args, kwargs)

    async def _guarded(self, func: Callable[..., Awaitable[T]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        if self._decorates and getattr(func, "_ignore_on_call", None) is self:
            return await func(*args, **kwargs)
        circuit = self._circuit
        if self._follows or circuit.gate is not None:
            self._admit()
        if self._listeners:
            tell(self._listeners, "before_call", self, func, *args, **kwargs)
        generation, started = circuit.generation, self._now()
        try:
            result = await func(*args, **kwargs)
        except BaseException as error:
            self._raised(error, generation, started)
            raise
        if self._listeners or self._judges_results:
            self._returned(result, generation, started)
        elif generation == circuit.generation:
            circuit.settle(self._now(), started, 0)
            if self._link.counter and circuit.state is not BreakerState.DISABLED:
                self._link.succeeded()
        return result

    async def _await(self, awaitable: Awaitable[T], generation: int, started: float) -> T:
        try:
            result = await awaitable
        except BaseException as error:
            self._raised(error, generation, started)
            raise
        self._returned(result, generation, started)
        return result

    def _generate(self, generator: Generator[Any, Any, T], generation: int, started: float) -> Generator[Any, Any, T]:
        try:
            result = yield from generator
        except BaseException as error:
            self._raised(error, generation, started)
            raise
        self._returned(result, generation, started)
        return result

    @property
    def is_plain(self) -> bool:
        """Whether nobody looks into its calls, so that `begin` and `end` or `raised` are all that `call` would do."""
        return not self._listeners and not self._judges_results

    def begin(self) -> Permit:
        """Let a call pass that is made elsewhere, or raise `BreakerOpen`. Each permit needs its `end`."""
        if self._follows or self._circuit.gate is not None:
            self._admit()
        return Permit(self._circuit.generation, self._now())

    def end(
        self,
        permit: Permit,
        error: BaseException | None = None,
        *,
        verdict: Verdict | None = None,
        took: float | None = None,
    ) -> None:
        """Report how the call of `permit` ended: well, or with `error`, which is judged as those of `call` are.

        A `verdict` is taken as it is. `took`: seconds that count as its duration, those since `begin` if None. Nothing
        is raised, not even when this opens the breaker.
        """
        circuit, generation, now = self._circuit, permit.generation, self._now()
        if generation != circuit.generation:
            return
        started = permit.started if took is None else now - took
        if verdict is None and error is None and not self._listeners and not self._link.counter:
            circuit.settle(now, started, 0)  # the short way of a good call; a disabled breaker ignores it
        elif circuit.state is BreakerState.DISABLED:
            return
        elif verdict is None and error is not None:
            self._judged(error, generation, started)
        elif verdict is Verdict.FAILURE:
            self._failed(error or FailedResult(None), generation, started)
        elif verdict is Verdict.NEITHER:
            circuit.release(started)
        else:
            self._succeeded(started)

    def raised(self, permit: Permit, error: BaseException) -> None:
        """Count `error` while it is handled, as `call` does; `BreakerOpen` is raised from one that opens it."""
        self._raised(error, permit.generation, permit.started)

    def elapsed(self, permit: Permit) -> float:
        """Seconds since `begin` gave `permit`."""
        return self._now() - permit.started

    def _admit(self) -> None:
        if self._follows:
            self._link.follow()
        gate = self._circuit.gate
        if gate is None:
            return
        try:
            gate()
        except Refusal as refusal:
            if self._events is not None:
                publish(self._events, CallRejected(self.name or "", self._circuit.state, refusal.retry_after))
            raise self._broken(f"is {self._circuit.state}", refusal.retry_after) from None

    def _broken(self, what: str, retry_after: float) -> BreakerOpen:
        name = self.name or "breaker"
        return BreakerOpen(
            f"{name} {what}", name=name, state=self._circuit.state, retry_after=retry_after, clock=self._clock
        )

    # --- outcomes

    def _returned(self, result: object, generation: int, started: float) -> None:
        circuit = self._circuit
        if generation != circuit.generation or circuit.state is BreakerState.DISABLED:
            return
        verdict = self._classifier.of_result(result) if self._judges_results else Verdict.SUCCESS
        if verdict is Verdict.SUCCESS:
            self._succeeded(started)
        elif verdict is Verdict.FAILURE:
            self._failed(FailedResult(result), generation, started)
        else:
            circuit.release(started)

    def _raised(self, error: BaseException, generation: int, started: float) -> None:
        """Count `error` while it is handled; raises `BreakerOpen` from it when it opened the breaker."""
        circuit = self._circuit
        if generation != circuit.generation or circuit.state is BreakerState.DISABLED:
            return
        if self._judged(error, generation, started) and not self._raise_original and isinstance(error, Exception):
            raise self._broken("was opened by this failure", circuit.wait()) from error

    def _judged(self, error: BaseException, generation: int, started: float) -> bool:
        """Count `error` as the classifier says; whether it opened the breaker."""
        circuit = self._circuit
        verdict = self._classifier.of_error(error)
        if verdict is not Verdict.NEITHER and isinstance(error, Exception) and not self.is_system_error(error):
            verdict = Verdict.NEITHER
            if circuit.state is not BreakerState.HALF_OPEN:
                self._link.succeeded()  # aiobreaker's `fail_counter` says so; nothing is decided by it
        if verdict is Verdict.NEITHER:
            circuit.release(started)
        elif verdict is Verdict.SUCCESS:
            self._succeeded(started)
        else:
            return self._failed(error, generation, started)
        return False

    def _succeeded(self, started: float) -> None:
        self._circuit.settle(self._now(), started, 0)
        self._link.succeeded()
        if self._listeners:
            tell(self._listeners, "success", self)

    def _failed(self, error: BaseException, generation: int, started: float) -> bool:
        """Count a failure; whether it opened the breaker."""
        circuit = self._circuit
        self._link.failed()
        if self._listeners:
            tell(self._listeners, "failure", self, error)
            if generation != circuit.generation:
                return False
        if self._follows:
            circuit.failures_in_row = max(circuit.failures_in_row, self._link.counter - 1)
        circuit.settle(self._now(), started, 1)
        return generation != circuit.generation and circuit.state is BreakerState.OPEN

    async def _report(self, probe: Awaitable[object]) -> bool:
        """Await a background probe and count it; whether it said anything."""
        circuit = self._circuit
        generation, done = circuit.generation, circuit.probes_done
        try:
            await self._await(probe, generation, self._now())
        except Exception as error:
            _log.info("a background probe of %s failed: %r", self.name or "a breaker", error)
        return (circuit.generation, circuit.probes_done) != (generation, done)
