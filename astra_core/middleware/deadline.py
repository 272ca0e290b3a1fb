"""A deadline for every request, known to everything that works for it."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from astra_core.asgi import Layer, Problem, Problems, RequestIds
from astra_core.middleware.notes import note_key
from astra_core.middleware.refusals import mark_refused
from astra_core.resilience import (
    DEADLINE_HEADER,
    DeadlineExceeded,
    DeadlineParameters,
    Deadlines,
    Sweep,
    current_deadline,
    parse_deadline,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.asgi import ASGIApp, Exchange, Message, Receive, Scope, Send
    from astra_core.resilience import Deadline

__all__ = ["DeadlineMiddleware"]

_OVER = Problem(
    status=504,
    type="urn:astra:problem:deadline-exceeded",
    title="Deadline exceeded",
    detail="The answer was not ready in the time that this request had.",
)


class DeadlineMiddleware(Layer):
    """Bounds the time until an answer begins; when it is over the work is cancelled and the answer is 504.

    Give it `deadlines`, or `budget` and `floor` in seconds (see `DeadlineParameters`) for some of its own. A `trusted`
    caller may ask for less time with `X-Request-Deadline`; nobody is trusted by default.

    504 and not 503: what the request waited for did not answer in time (RFC 9110 section 15.6.5), and no time is known
    after which it would. The same when a caller had shortened it; but then no breaker further out counts it.

    Once the answer has begun the deadline is lifted: a stream may last as long as it likes. A cancellation by somebody
    else passes untouched.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        deadlines: Deadlines | None = None,
        budget: float | None = None,
        floor: float | None = None,
        trusted: Callable[[Scope], bool] | None = None,
        problems: Problems | None = None,
    ) -> None:
        super().__init__(app)
        if deadlines is None:
            parameters = DeadlineParameters(budget=5.0 if budget is None else budget, floor=floor or 0.0)
            deadlines = Deadlines("request", sweep=Sweep(), parameters=parameters)
        elif budget is not None or floor is not None:
            raise TypeError("deadlines have a budget and a floor of their own: give them, or budget and floor")
        self._begin = deadlines.enter
        self._end = deadlines.leave
        self._trusted = trusted
        self._problems = problems or Problems(RequestIds())
        self._note = note_key(self, "deadline")

    def enter(self, x: Exchange) -> ASGIApp | None:
        """Begin the deadline."""
        scope = x.scope
        if self._trusted is None or not self._trusted(scope):
            scope[self._note] = self._begin()
            return None
        deadline = scope[self._note] = self._begin(_asked(scope))
        return _too_late if deadline.expired else None

    def start(self, x: Exchange, message: Message) -> None:
        """Lift it; as `Deadline.lift`, without a call."""
        deadline: Deadline = x.scope[self._note]
        if not deadline.fired:
            deadline.at = deadline.own_at = inf

    def rescue(self, x: Exchange, error: BaseException) -> ASGIApp | None:
        """Answer for the work that the deadline cut off, or that a deadline further in ended without an answer."""
        deadline: Deadline = x.scope[self._note]
        exceeded = error if isinstance(error, DeadlineExceeded) else deadline.claim(error)
        if exceeded is None:
            return None
        if x.started:  # it caught its cancellation, began to answer and gave up after all
            if exceeded is error:
                return None
            raise exceeded from error
        if not exceeded.own:
            mark_refused(x.scope, _OVER.status)
        return self._problems.respond(_OVER, x.scope)

    def leave(self, x: Exchange) -> None:
        """End the deadline."""
        self._end(x.scope.pop(self._note))


def _asked(scope: Scope) -> float | None:
    for name, value in scope["headers"]:
        if name == DEADLINE_HEADER:
            return parse_deadline(value)
    return None


async def _too_late(scope: Scope, receive: Receive, send: Send) -> None:
    deadline = current_deadline()
    if deadline is not None:
        deadline.check()
