"""Throttling on the client's side: send less to a dependency that accepts less.

Source: "Handling Overload", chapter 21 of Google's "Site Reliability Engineering" (2016). Over a window of two minutes
a client counts its `requests` and the `accepts` among them, and drops a new one by itself with the probability
`max(0, (requests - K * accepts) / (requests + 1))`. With K = 2 it sends at most about twice what is accepted. Unlike a
breaker it has no states: it fits dependencies that refuse a part of their calls.
"""

from __future__ import annotations

import random as random_module
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from astra_core.clock import SystemClock
from astra_core.errors import Overloaded, StoreUnavailable
from astra_core.events.limiter import CallThrottled
from astra_core.resilience.breaker_outcomes import Classifier, Verdict
from astra_core.resilience.deadline import own_deadline_expired

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from astra_core.clock import Clock
    from astra_core.events import Listener

__all__ = ["AdaptiveThrottle", "ThrottleParameters", "refused"]

T = TypeVar("T")

_SLICES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleParameters:
    """`k`: lower is stricter, 2 in the book; seconds in the `window`; `retry_after` is what a refusal suggests."""

    k: float = 2.0
    window: float = 120.0
    retry_after: float = 1.0

    def __post_init__(self) -> None:
        if self.k < 1 or self.window <= 0:
            raise ValueError(f"throttling needs k >= 1 and a window above 0: {self}")


def refused(error: Exception) -> bool:
    """The default meaning of "not accepted": no connection, no answer in time, or a store that says it cannot."""
    return isinstance(error, (ConnectionError, TimeoutError, StoreUnavailable))


class AdaptiveThrottle:
    """Counts calls when they end, and raises `Overloaded` in place of the share that it drops.

    Refusals of our own (limiter, breaker), cancellations by the caller and deadlines that it shortened count neither
    way; our own expired deadline is a refusal. In a `Policy` it can stand where the breaker stands. `parameters`
    may be replaced while it runs, save for the window.
    """

    def __init__(
        self,
        name: str,
        *,
        parameters: ThrottleParameters | None = None,
        is_refusal: Callable[[Exception], bool] = refused,
        clock: Clock | None = None,
        random: Random | None = None,
        listeners: Listener | None = None,
    ) -> None:
        self.name = name
        self.parameters = parameters or ThrottleParameters()
        self._outcomes = Classifier(is_failure=is_refusal, cancellation_is_failure=own_deadline_expired)
        self._now = (clock or SystemClock()).monotonic
        self._random = random or random_module.Random()  # noqa: S311 - chance, not secrecy
        self._listeners = listeners
        self._span = self.parameters.window / _SLICES
        self._slices = [(0, 0)] * _SLICES
        self._at = int(self._now() / self._span)
        self._requests = self._accepts = 0

    @property
    def probability(self) -> float:
        """The share of new calls that are dropped just now."""
        self._forget()
        return max(0.0, (self._requests - self.parameters.k * self._accepts) / (self._requests + 1))

    async def call(self, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> T:
        """Return `await fn(...)`, or raise `Overloaded` without calling it."""
        probability = self.probability
        if probability and self._random.random() < probability:
            self.note(accepted=False)
            if self._listeners:
                self._listeners(CallThrottled(self.name, probability))
            raise Overloaded(f"throttle {self.name}", limit=0, retry_after=self.parameters.retry_after)
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            verdict = self._outcomes.of_error(error)
            if verdict is not Verdict.NEITHER:
                self.note(accepted=verdict is Verdict.SUCCESS)
            raise
        self.note(accepted=True)
        return result

    call_async = call
    """The name that a breaker's call has."""

    def note(self, *, accepted: bool) -> None:
        """Count one request that ended, accepted or not, for callers that cannot use `call`."""
        self._forget()
        requests, accepts = self._slices[self._at % _SLICES]
        self._slices[self._at % _SLICES] = (requests + 1, accepts + accepted)
        self._requests += 1
        self._accepts += accepted

    def _forget(self) -> None:
        now = int(self._now() / self._span)
        for passed in range(self._at + 1, min(now, self._at + _SLICES) + 1):
            requests, accepts = self._slices[passed % _SLICES]
            self._requests -= requests
            self._accepts -= accepts
            self._slices[passed % _SLICES] = (0, 0)
        self._at = now

    def __repr__(self) -> str:
        return f"AdaptiveThrottle({self.name!r}, dropping={self.probability:.2f})"
