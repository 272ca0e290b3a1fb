"""A request on its way through a breaker: what its end says about the application, and what about the client."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from astra_core.middleware.refusals import Witness, is_refusal
from astra_core.resilience import current_deadline, own_deadline_expired
from astra_core.resilience.breaker_announce import FailedResult
from astra_core.resilience.breaker_outcomes import Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from astra_core.asgi import Message, Send
    from astra_core.middleware.inbox import Inbox
    from astra_core.resilience import CircuitBreaker
    from astra_core.resilience.breaker_calls import Permit

__all__ = ["Passage"]

_log = logging.getLogger("astra.middleware")


class Passage(Witness, eq=False, kw_only=True):
    """Reports once to `breaker`: by `raised`, or by `returned`. A `Struct`, as there is one for each request."""

    breaker: CircuitBreaker
    permit: Permit
    inbox: Inbox
    waited: float
    """What the inbox had waited when the passage began."""
    forward: Send
    is_failure: Callable[[int], bool]
    status: int = 0
    took: float | None = None

    def send(self, message: Message) -> Awaitable[None]:
        """Send to the outside; the clock stops when the answer begins."""
        if message["type"] == "http.response.start":
            self._starts(message["status"])
        return self.forward(message)

    def raised(self, error: BaseException, *, ignore: Callable[[Exception], bool]) -> None:
        """Report that the request ended with `error`; to be called while it is handled."""
        if self.refused == self.status or self.inbox.disconnected or is_refusal(error):
            self._end(error, Verdict.NEITHER)
        elif isinstance(error, asyncio.CancelledError):
            own = own_deadline_expired() and not self._clients_time()
            self._end(error, Verdict.FAILURE if own else Verdict.NEITHER)
        elif (isinstance(error, TimeoutError) and self._clients_time()) or _ignored(error, ignore):
            self._end(error, Verdict.NEITHER)
        else:
            self._end(error, None)

    def returned(self) -> None:
        """Report that the request ended without an error. One without an answer is a failure: the server sends 500."""
        status = self.status
        if status and not self.is_failure(status):
            self._end(None, None)
        elif self.refused == status or self.inbox.disconnected:
            self._end(None, Verdict.NEITHER)
        else:
            self._end(FailedResult(status), Verdict.FAILURE)

    def _starts(self, status: int) -> None:
        self.status = status
        self.took = self._elapsed()
        if self.is_failure(status):  # now, because from here on a deadline tells no more whose time was over
            deadline = current_deadline()
            own = deadline is not None and deadline.own_expired
            shortened = deadline is not None and deadline.expired and not own
            if shortened or ((own or status == 504) and self._clients_time()):
                self.refused = status

    def _elapsed(self) -> float:
        """Seconds until now, without the wait for the client's body."""
        return self.breaker.elapsed(self.permit) - (self.inbox.waited - self.waited)

    def _clients_time(self) -> bool:
        """Whether more than half of the time until now was spent waiting for the client."""
        return (self.inbox.waited - self.waited) * 2 > self.breaker.elapsed(self.permit)

    def _end(self, error: BaseException | None, verdict: Verdict | None) -> None:
        took = self._elapsed() if self.took is None else self.took
        self.breaker.end(self.permit, error, verdict=verdict, took=took)


def _ignored(error: BaseException, ignore: Callable[[Exception], bool]) -> bool:
    try:
        return isinstance(error, Exception) and ignore(error)
    except Exception:
        _log.exception("the predicate %r of a breaker failed on %r", ignore, error)
        return False
