"""Retries that help: jittered, few, safe to make, paid from a shared budget, and over before the deadline.

The rules, in the order in which they are asked after each failure:

1. Is it worth it: the predicates on exception and on result. A cancellation is never retried.
2. Is it safe: a call that is not idempotent is repeated only when it provably never left, or under an idempotency key.
3. Are tries left. 4. Does the wait end before the deadline. 5. Does the budget hold a retry.

If any answer is no the caller gets the failure itself, error or result: an error of ours would hide what went wrong.
The wait is the backoff, after the `Retry-After` of the other side if it sent one: never earlier than asked, and spread.
"""

from __future__ import annotations

import random as random_module
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from astra_core.errors import Overloaded, StoreUnavailable
from astra_core.events.retry import CallHedged, RetryGivenUp, RetryScheduled, RetrySucceeded
from astra_core.resilience.backoff import Backoff, FullJitter
from astra_core.resilience.deadline import DeadlineParameters, Deadlines, remaining
from astra_core.resilience.hedge import hedged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random
    from typing import Literal

    from astra_core.events import Listener
    from astra_core.resilience.budget import RetryBudget
    from astra_core.resilience.sweep import Sweep

    Obstacle = Literal["attempts", "budget", "deadline", "unsafe"]

__all__ = [
    "Repeat",
    "RetryParameters",
    "RetryPolicy",
    "parse_retry_after",
    "retry_after_of",
    "transient",
    "unsent",
]

T = TypeVar("T")


class Repeat(Enum):
    """What makes a second try of a call safe."""

    UNSENT = "unsent"
    """Nothing: repeat it only if no byte of it left."""
    KEYED = "keyed"
    """An idempotency key: the other side does it once, however often it is asked."""
    IDEMPOTENT = "idempotent"
    """It changes nothing, or the same thing again. Only such calls are hedged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryParameters:
    """At most `attempts` tries, the first included, `backoff` between them, each cut off after `try_timeout` seconds.

    `max_retry_after` clamps what the other side asks for. `hedge_after`: seconds without an answer after which an
    idempotent call is sent a second time; set it to about the 95th percentile. None switches those two timers off.
    """

    attempts: int = 3
    backoff: Backoff = field(default_factory=FullJitter)
    try_timeout: float | None = None
    max_retry_after: float = 30.0
    hedge_after: float | None = None

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.max_retry_after < 0:
            raise ValueError(f"a retry needs 1 attempt or more and max_retry_after >= 0: {self}")
        if any(seconds is not None and seconds <= 0 for seconds in (self.try_timeout, self.hedge_after)):
            raise ValueError(f"try_timeout and hedge_after are times above 0, or None: {self}")


def transient(error: Exception) -> bool:
    """The default for what to retry: no connection, no answer in time, a store that is away for a moment.

    Not a refusal of our own (`Overloaded`, an open breaker): trying again at once is what those are there to stop.
    """
    return isinstance(error, (ConnectionError, TimeoutError, StoreUnavailable))


def unsent(error: Exception) -> bool:
    """The default for what provably never left: a refused connection, or a refusal of our own."""
    return isinstance(error, (ConnectionRefusedError, Overloaded))


def retry_after_of(outcome: object) -> float | None:
    """The default for what the other side asks for: the seconds in an attribute `retry_after` of error or result."""
    seconds = getattr(outcome, "retry_after", None)
    return float(seconds) if isinstance(seconds, (int, float)) else None


def parse_retry_after(value: str, *, now: float) -> float | None:
    """Seconds to wait by a `Retry-After` header (RFC 9110 section 10.2.3): delay in seconds, or an HTTP date.

    `now` is the wall time, `Clock.time()`. A date gone by is 0; what is neither is None.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:10])
    try:
        date = parsedate_to_datetime(value)
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):
        return None


class RetryPolicy:
    """Retries calls of one dependency; share its `budget` with every other policy that calls the same one.

    `parameters` may be replaced while it runs. The deadline that counts is that of the context (`deadline.remaining`).
    """

    def __init__(
        self,
        name: str,
        *,
        sweep: Sweep,
        parameters: RetryParameters | None = None,
        budget: RetryBudget | None = None,
        retry_on: Callable[[Exception], bool] = transient,
        retry_result: Callable[[Any], bool] | None = None,
        is_unsent: Callable[[Exception], bool] = unsent,
        retry_after: Callable[[Any], float | None] = retry_after_of,
        random: Random | None = None,
        listeners: Listener | None = None,
    ) -> None:
        self.name = name
        self.budget = budget
        self._retry_on = retry_on
        self._retry_result = retry_result
        self._is_unsent = is_unsent
        self._retry_after = retry_after
        self._random = random or random_module.Random()  # noqa: S311 - chance, not secrecy
        self._listeners = listeners
        self._clock = sweep.clock
        self._tries = Deadlines(f"a try of {name}", sweep=sweep)
        self.parameters = parameters or RetryParameters()

    @property
    def parameters(self) -> RetryParameters:
        """The knobs in force."""
        return self._parameters

    @parameters.setter
    def parameters(self, new: RetryParameters) -> None:
        self._parameters = new
        self._untimed = new.try_timeout is None and new.hedge_after is None
        self.is_plain = self._untimed and self._retry_result is None
        """Whether a try is the call and nothing more: no timer of its own, and its result is not looked at."""
        if new.try_timeout is not None:
            self._tries.parameters = DeadlineParameters(budget=new.try_timeout)

    async def call(self, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> T:
        """Return `await fn(...)`, tried again only when it provably never left: `call_as(Repeat.UNSENT, …)`."""
        return await self.call_as(Repeat.UNSENT, fn, *args, **kwargs)

    async def call_as(self, repeat: Repeat, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> T:
        """Return `await fn(...)`, tried again as far as `repeat` makes that safe."""
        self.begin()
        try:
            if self.is_plain:
                return await fn(*args, **kwargs)
            result = await (fn(*args, **kwargs) if self._untimed else self._try(repeat, fn, *args, **kwargs))
        except Exception as error:
            plan = self.plan_after(error, repeat)
            if plan is None:
                raise
        else:
            if self._retry_result is None or not self._retry_result(result):
                return result
            plan = self._plan(repeat, 1, 0.0, result)
            if plan is None:
                return result
        return await self.again(plan, repeat, fn, *args, **kwargs)

    def begin(self) -> None:
        """Count a first try that is made elsewhere: it pays into the budget."""
        if self.budget is not None:
            self.budget.deposit()

    def plan_after(self, error: Exception, repeat: Repeat) -> tuple[float, float] | None:
        """Return what `again` needs after a first try that ended with `error`, None when there shall be no other."""
        return self._plan(repeat, 1, 0.0, error) if self._retry_on(error) else None

    async def again(
        self, plan: tuple[float, float], repeat: Repeat, fn: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any
    ) -> T:
        """Make the tries after the first one, which pays nothing for them: `plan` is the wait before the second."""
        attempt, further = 1, plan
        while True:
            delay, wait = further
            await self._clock.sleep(wait)
            attempt += 1
            try:
                result = await (fn(*args, **kwargs) if self._untimed else self._try(repeat, fn, *args, **kwargs))
            except Exception as error:
                next_plan = self._plan(repeat, attempt, delay, error) if self._retry_on(error) else None
                if next_plan is None:
                    raise
            else:
                if self._retry_result is None or not self._retry_result(result):
                    if self._listeners:
                        self._listeners(RetrySucceeded(self.name, attempt))
                    return result
                next_plan = self._plan(repeat, attempt, delay, result)
                if next_plan is None:
                    return result
            further = next_plan

    async def _try(self, repeat: Repeat, fn: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        parameters = self._parameters
        call: tuple[Callable[..., Awaitable[T]], ...] = (fn,)
        if parameters.hedge_after is not None and repeat is Repeat.IDEMPOTENT:
            call = (self._hedged, fn)
        if parameters.try_timeout is not None:
            call = (self._tries.call, *call)
        return await call[0](*call[1:], *args, **kwargs)

    async def _hedged(self, fn: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        after = self._parameters.hedge_after or 0.0
        return await hedged(lambda: fn(*args, **kwargs), after=after, may_send=self._may_hedge, sleep=self._clock.sleep)

    def _may_hedge(self) -> bool:
        if self.budget is not None and not self.budget.try_withdraw():
            return False
        if self._listeners:
            self._listeners(CallHedged(self.name, self._parameters.hedge_after or 0.0))
        return True

    def _plan(self, repeat: Repeat, attempt: int, previous: float, outcome: object) -> tuple[float, float] | None:
        """The backoff and the whole wait before the next try, in seconds; None when there shall be none."""
        parameters = self._parameters
        cause = type(outcome).__name__ if isinstance(outcome, Exception) else "result"
        delay = parameters.backoff.delay(attempt, previous, self._random)
        wait = delay + min(max(self._retry_after(outcome) or 0.0, 0.0), parameters.max_retry_after)
        obstacle = self._obstacle(repeat, attempt, wait, outcome)
        if obstacle is None:
            if self._listeners:
                self._listeners(RetryScheduled(self.name, attempt, wait, cause))
            return delay, wait
        if self._listeners:
            self._listeners(RetryGivenUp(self.name, attempt, obstacle, cause))
        return None

    def _obstacle(self, repeat: Repeat, attempt: int, wait: float, outcome: object) -> Obstacle | None:
        if repeat is Repeat.UNSENT and not (isinstance(outcome, Exception) and self._is_unsent(outcome)):
            return "unsafe"
        if attempt >= self._parameters.attempts:
            return "attempts"
        if wait >= remaining():
            return "deadline"
        if self.budget is not None and not self.budget.try_withdraw():
            return "budget"
        return None

    def __repr__(self) -> str:
        return f"RetryPolicy({self.name!r}, {self._parameters}, budget={self.budget})"
