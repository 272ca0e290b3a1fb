"""Deadlines: how long this request may still take, known to everything that works for it.

A deadline lives in the context, so every task started under it sees it. Nested deadlines only ever shrink. Work that
outlives its deadline is cancelled by a shared `Sweep`, at its next await and up to a grain late; work that computes
calls `check()`.

Over HTTP a deadline travels as `X-Request-Deadline: <milliseconds left>`, a whole number rounded down. It is time left
and not a moment, as in gRPC's `grpc-timeout` and Envoy's `x-envoy-expected-rq-timeout-ms`, because the clocks of two
hosts differ by more than a deadline; the price is that time on the wire is not subtracted.

Two moments are kept: `at`, when the work is cut off, and `own_at`, when it would have been had no caller asked for
less. Only the second says anything about a dependency: a stranger who asks for one millisecond must not open a breaker.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import current_task
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct

from astra_core.detached import DEADLINE
from astra_core.errors import AstraError
from astra_core.events.deadline import DeadlineExpired

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextvars import ContextVar
    from types import TracebackType

    from astra_core.events import Listener
    from astra_core.resilience.sweep import Sweep

__all__ = [
    "DEADLINE_HEADER",
    "Deadline",
    "DeadlineExceeded",
    "DeadlineParameters",
    "Deadlines",
    "current_deadline",
    "format_deadline",
    "mark_not_begun",
    "own_deadline_expired",
    "parse_deadline",
    "remaining",
]

T = TypeVar("T")

DEADLINE_HEADER = b"x-request-deadline"
_MAX_DIGITS = 9
_NOT_BEGUN = "cancelled while it waited in a queue of our own: the call was not begun"

_current: Final[ContextVar[Deadline | None]] = DEADLINE
_get, _set = _current.get, _current.set


class DeadlineExceeded(AstraError, TimeoutError):  # noqa: N818 - the field's term
    """The time for this work is over. `own` is False when the caller had asked for less time than we allow."""

    def __init__(self, name: str, *, budget: float, own: bool) -> None:
        self.name = name
        self.budget = budget
        self.own = own
        super().__init__(
            f"{name}: the deadline of {budget:g} s is over" + ("" if own else " (shortened by the caller)")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineParameters:
    """Seconds that work may take (`budget`), and the least that a caller's wish can shorten that to (`floor`)."""

    budget: float = 5.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= self.budget or not self.budget > 0:
            raise ValueError(f"a deadline needs 0 <= floor <= budget and a budget above 0: {self}")


class Deadline(Struct, eq=False):
    """One deadline in force; made by `Deadlines`. Times are those of its clock's `monotonic`, in seconds.

    A `Struct` because one is made for each request: that takes 0.07 us, with an `__init__` in Python 0.17.
    """

    deadlines: Deadlines
    parent: Deadline | None
    budget: float
    at: float
    own_at: float
    task: asyncio.Task[Any] | None
    """The task that entered it."""
    cancelling: int
    """Cancellations of that task that were under way by then."""
    fired: bool = False

    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at - self.deadlines.now())

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return self.deadlines.now() >= self.at

    @property
    def own_expired(self) -> bool:
        """Whether the time that we ourselves allow is over."""
        return self.deadlines.now() >= self.own_at

    def check(self) -> None:
        """Raise `DeadlineExceeded` when the time is over: call it before work that is not worth beginning then."""
        if self.deadlines.now() >= self.at:
            raise self.deadlines.exceeded(self)

    def lift(self) -> None:
        """Let the work go on without an end, and what it calls too: a stream may last longer than its first byte.

        One that has cut the work off already stays as it is, and can say whose time it was.
        """
        if not self.fired:
            self.at = self.own_at = inf

    def expire(self) -> None:
        """Cancel the task that entered this deadline; the sweep calls it."""
        self.fired = True
        if self.task is not None:
            self.task.cancel()

    def claim(self, error: BaseException) -> DeadlineExceeded | None:
        """The error to raise in place of `error`; None unless it is the cancellation that this deadline caused.

        When somebody else cancelled the task too, theirs goes on and the answer is None.
        """
        if not isinstance(error, asyncio.CancelledError) or not self.withdraw():
            return None
        return self.deadlines.exceeded(self)

    def withdraw(self) -> bool:
        """Take back the cancellation that this deadline caused; whether there was one and it was the only one."""
        if not self.fired or self.task is None:
            return False
        self.fired = False
        return self.task.uncancel() <= self.cancelling

    def __repr__(self) -> str:
        return f"<Deadline {self.deadlines.name} {self.remaining():.3f} s of {self.budget:g} s left>"


class Deadlines:
    """Puts deadlines round work: `async with deadlines.scope(2.0): …`, `await deadlines.call(fn, …)`, or the pair
    `enter` and `leave` for a middleware. `parameters` may be replaced while it runs.

    >>> deadlines = Deadlines("checkout", sweep=Sweep())
    >>> async with deadlines.scope(0.5):
    ...     await work()  # DeadlineExceeded after half a second, or earlier when a deadline outside this one is over
    """

    __slots__ = ("_budget", "_entries", "_listeners", "_parameters", "name", "now", "sweep")

    def __init__(
        self,
        name: str,
        *,
        sweep: Sweep,
        parameters: DeadlineParameters | None = None,
        listeners: Listener | None = None,
    ) -> None:
        self.name = name
        self.sweep = sweep
        self.now = sweep.now
        self._entries = sweep.entries
        self.parameters = parameters or DeadlineParameters()
        self._listeners = listeners

    @property
    def parameters(self) -> DeadlineParameters:
        """The knobs in force."""
        return self._parameters

    @parameters.setter
    def parameters(self, new: DeadlineParameters) -> None:
        self._parameters = new
        self._budget = new.budget

    def enter(self, asked: float | None = None, budget: float | None = None) -> Deadline:
        """Begin a deadline of `budget` seconds (the parameters' without it), or `asked` if the caller wants less.

        Every `enter` needs its `leave`, in the same task. Nothing is raised: see `Deadline.check`.
        """
        sweep, parent = self.sweep, _get()
        if budget is None:
            budget = self._budget
        now = self.now()
        at = own_at = now + budget
        if asked is not None and asked < budget:
            at = now + max(asked, self._parameters.floor)
        if parent is not None:
            if parent.at < at:  # `min` costs 0.1 us on Python 3.11
                at = parent.at
            if parent.own_at < own_at:
                own_at = parent.own_at
        task = current_task(sweep.loop) or sweep.current_task()
        deadline = Deadline(self, parent, budget, at, own_at, task, task.cancelling() if task else 0)
        _set(deadline)
        self._entries[deadline] = None
        if at < sweep.due:
            sweep.wake_at(at)
        return deadline

    def leave(self, deadline: Deadline) -> None:
        """End `deadline`. A cancellation that it caused and nobody claimed is taken back."""
        self._entries.pop(deadline, None)
        _set(deadline.parent)
        if deadline.fired:
            deadline.withdraw()

    async def call(self, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> T:
        """Return `await fn(...)`, or raise `DeadlineExceeded` when it does not end in time or the time is over."""
        deadline = self.enter()
        try:
            deadline.check()
            return await fn(*args, **kwargs)
        except asyncio.CancelledError as error:
            exceeded = deadline.claim(error)
            if exceeded is None:
                raise
            raise exceeded from error
        finally:
            self.leave(deadline)

    def scope(self, budget: float | None = None, *, asked: float | None = None) -> _Scope:
        """A deadline as `async with`; entering raises `DeadlineExceeded` when one outside it is already over."""
        return _Scope(self, budget, asked)

    def exceeded(self, deadline: Deadline) -> DeadlineExceeded:
        """The error for `deadline`, told to the listeners."""
        own = deadline.own_expired
        if self._listeners:
            self._listeners(DeadlineExpired(self.name, deadline.budget, own))
        return DeadlineExceeded(self.name, budget=deadline.budget, own=own)

    def __repr__(self) -> str:
        return f"Deadlines({self.name!r}, {self.parameters})"


class _Scope:
    __slots__ = ("_asked", "_budget", "_deadline", "_deadlines")

    def __init__(self, deadlines: Deadlines, budget: float | None, asked: float | None) -> None:
        self._deadlines = deadlines
        self._budget = budget
        self._asked = asked
        self._deadline: Deadline

    async def __aenter__(self) -> Deadline:
        deadline = self._deadline = self._deadlines.enter(self._asked, self._budget)
        if deadline.expired:
            self._deadlines.leave(deadline)
            deadline.check()
        return deadline

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        exceeded = None if error is None else self._deadline.claim(error)
        self._deadlines.leave(self._deadline)
        if exceeded is not None:
            raise exceeded from error


def current_deadline() -> Deadline | None:
    """The deadline in force here, or None."""
    return _get()


def remaining() -> float:
    """Seconds left in this context, never below 0; infinity without a deadline."""
    deadline = _get()
    return inf if deadline is None else deadline.remaining()


def own_deadline_expired() -> bool:
    """Whether the time that we ourselves allow, unshortened by any caller, is over in this context.

    A breaker asks this of a cancellation that passes it. False too for a cancellation that struck while the call
    waited in a queue of our own (`mark_not_begun`): the dependency never saw that call.
    """
    deadline = _get()
    if deadline is None or not deadline.own_expired:
        return False
    return _NOT_BEGUN not in getattr(sys.exception(), "__notes__", ())


def mark_not_begun(error: asyncio.CancelledError) -> None:
    """Note on a cancellation that the call it struck was not begun."""
    error.add_note(_NOT_BEGUN)


def parse_deadline(value: bytes) -> float | None:
    """The seconds that a caller asks for in `X-Request-Deadline`; None when it is not a whole number of milliseconds.

    Honour it only from trusted proxies, and give it to `Deadlines.enter(asked)`, which applies the floor.
    """
    return int(value) / 1000 if value.isdigit() and len(value) <= _MAX_DIGITS else None


def format_deadline(seconds: float) -> bytes:
    """`X-Request-Deadline` for a request sent now, of `remaining()` seconds: rounded down, never below 0."""
    return b"%d" % max(0, int(seconds * 1000))
