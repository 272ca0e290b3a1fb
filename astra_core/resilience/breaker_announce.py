"""Telling others what a breaker did: our events, and aiobreaker's listeners. One that raises is logged, never felt."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from astra_core.errors import AstraError
from astra_core.events.breaker import (
    BreakerClosed,
    BreakerHalfOpened,
    BreakerOpened,
    BreakerOverridden,
    BreakerRamping,
)
from astra_core.resilience.breaker_states import BreakerState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiobreaker import CircuitBreakerListener

    from astra_core.events import Listener
    from astra_core.resilience.breaker_circuit import Circuit
    from astra_core.resilience.breaker_states import Move

__all__ = ["FailedResult", "event_of", "publish", "tell"]

_log = logging.getLogger("astra.resilience")


class FailedResult(AstraError):  # noqa: N818 - says what it is
    """What aiobreaker's listeners are told, who expect an exception, when a `result` was judged a failure."""

    def __init__(self, result: object) -> None:
        self.result = result
        super().__init__(f"the result counts as a failure: {result!r}")


def event_of(name: str, circuit: Circuit, event: Move, now: float) -> object:
    """The event that says what `circuit` has just become."""
    generation, state = circuit.generation, circuit.state
    if state is BreakerState.OPEN:
        counts = circuit.window.counts(now)
        return BreakerOpened(
            name,
            event.reason,
            circuit.open_seconds,
            circuit.openings,
            counts.failure_rate,
            counts.slow_rate,
            generation,
        )
    if state is BreakerState.HALF_OPEN:
        return BreakerHalfOpened(name, event.reason, circuit.parameters.probes, generation)
    if state is BreakerState.RAMPING:
        return BreakerRamping(name, circuit.parameters.ramp * circuit.open_seconds, generation)
    if state is BreakerState.CLOSED:
        return BreakerClosed(name, event.reason, generation)
    return BreakerOverridden(name, state.value, generation)


def publish(listener: Listener, event: object) -> None:
    """Hand `event` to a listener that need not be a `Listeners`."""
    try:
        listener(event)
    except Exception:
        _log.exception("the listener %r failed on %r", listener, event)


def tell(listeners: Iterable[CircuitBreakerListener], what: str, *args: Any, **kwargs: Any) -> None:
    """Call the method `what` of each of aiobreaker's listeners."""
    for listener in tuple(listeners):
        try:
            getattr(listener, what)(*args, **kwargs)
        except Exception:
            _log.exception("the listener %r failed on %s", listener, what)
