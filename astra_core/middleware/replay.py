"""One request, tried until it is done."""

from __future__ import annotations

import copy
from itertools import islice
from typing import TYPE_CHECKING

from astra_core.errors import AstraError
from astra_core.middleware.held_answer import HeldAnswer, RetryableAnswer
from astra_core.middleware.inbox import INBOX, Inbox
from astra_core.middleware.refusals import WITNESS, Witness, is_refusal
from astra_core.middleware.tape import Tape
from astra_core.resilience import Repeat, RetryBudget, current_deadline

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Receive, Scope, Send
    from astra_core.clock import Clock
    from astra_core.resilience import RetryPolicy

__all__ = ["Replay"]


class Replay:
    """The tries of one request of `app`, whose deposit in the budget was made.

    `failed` is the error of the first try if that was made already, of a request without a body. At most `limit` bytes
    of the request and as many of the answer are held.
    """

    __slots__ = (
        "_answer", "_app", "_clock", "_failed", "_final", "_fresh", "_inbox", "_last", "_limit",
        "_receive", "_retry", "_scope", "_send", "_statuses", "_tape", "_tried",
    )  # fmt: skip

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        retry: RetryPolicy,
        statuses: frozenset[int],
        limit: int,
        clock: Clock,
        failed: Exception | None = None,
    ) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._retry = retry
        self._statuses = statuses
        self._limit = limit
        self._clock = clock
        self._failed = self._last = failed
        self._tried = failed is not None
        self._final = False
        self._tape = Tape(receive, limit=limit, bodiless=failed is not None)
        self._answer: HeldAnswer | None = None
        self._inbox: Inbox | None = None

    async def run(self) -> None:
        """Answer, or raise what the last try raised."""
        known = len(self._scope)
        self._fresh: Scope = {}
        error = self._failed
        try:
            if error is None and self._retry.parameters.try_timeout is None:
                error = await self._attempt()  # nearly always the only one, so it spares itself the policy
                self._failed = self._last = error
            if not self._final:
                error = await self._by_policy()
        finally:
            if self._inbox is not None:
                self._inbox.close()
            for key in islice(self._fresh, known, None):  # what the application noted of the request
                if key not in (INBOX, WITNESS):
                    self._scope.setdefault(key, self._fresh[key])
        if self._answer is not None:
            await self._answer.release()
        if error is not None and not isinstance(error, RetryableAnswer):
            raise error

    async def _by_policy(self) -> Exception | None:
        policy, budget = self._retry, self._retry.budget
        if budget is not None:
            policy = copy.copy(policy)
            policy.budget = _Deposited(budget)
        try:
            return await policy.call_as(Repeat.KEYED, self._try)  # safe to repeat; only what is IDEMPOTENT is hedged
        except Exception as error:
            return error

    async def _try(self) -> Exception | None:
        """Let the policy judge the next error: raised, it may be tried again; returned, it may not."""
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed
        if self._answer is not None and self._answer.passed:
            return AstraError("a try was cut off in the very moment in which its answer began")
        if self._tried and await self._left():
            return self._last
        error = await self._attempt()
        if error is None or self._final:
            return error
        self._last = error
        raise error

    async def _attempt(self) -> Exception | None:
        """Run the application; what it raised, or the answer that is held as an error. `_final` says how to take it."""
        deadline = current_deadline() if self._retry.parameters.try_timeout is not None else None
        answer = self._answer = HeldAnswer(self._send, statuses=self._statuses, limit=self._limit, deadline=deadline)
        tape, witness = self._tape, Witness(self._scope.get(WITNESS))
        tape.rewind()
        self._tried = True
        self._fresh = self._scope_of_try(witness)
        try:
            await self._app(self._fresh, tape.receive, answer.send)
        except Exception as error:
            self._final = answer.passed or is_refusal(error) or not tape.whole or tape.disconnected
            return error
        if not answer.status:
            self._final = True
            return None
        self._final = witness.refused == answer.status or not tape.whole or tape.disconnected
        return answer.error(now=self._clock.time())

    def _scope_of_try(self, witness: Witness) -> Scope:
        """Routers change the scope that they get, so each try has its own."""
        fresh = dict(self._scope)
        state = fresh.get("state")
        if isinstance(state, dict):
            fresh["state"] = state.copy()
        fresh[WITNESS] = witness
        if self._inbox is not None:
            fresh[INBOX] = self._inbox
        return fresh

    async def _left(self) -> bool:
        """Whether the client has gone. From here on somebody reads ahead, so the tape reads what was read."""
        inbox: Inbox | None = self._scope.get(INBOX) or self._inbox
        if inbox is None:
            inbox = self._inbox = Inbox(self._receive, self._clock.monotonic)
            self._tape.source = inbox.receive
        return await inbox.left()


class _Deposited(RetryBudget):
    """A view of `budget` for a request whose deposit was made."""

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget

    def deposit(self) -> None:
        """Nothing: it was made."""

    def try_withdraw(self) -> bool:
        """Take one retry out."""
        return self._budget.try_withdraw()

    def __repr__(self) -> str:
        return repr(self._budget)
