"""Cancels the work for a client that has gone."""

from __future__ import annotations

import asyncio
from asyncio import current_task
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from astra_core.asgi import ClientLeft, Layer
from astra_core.middleware.inbox import INBOX, Inbox
from astra_core.middleware.notes import note_key
from astra_core.middleware.refusals import mark_refused
from astra_core.resilience import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.asgi import ASGIApp, Exchange, Message, Scope

__all__ = ["DisconnectMiddleware"]


class DisconnectMiddleware(Layer):
    """Cancels a request whose client went away before the answer began, once it has waited `after` seconds.

    uvicorn and hypercorn let a handler run on when its client has gone: they only say `http.disconnect` to those who
    call `receive`. Most requests end long before `after`; for them this costs an entry in `sweep`. One that lasts
    longer gets a task that reads ahead, and what it reads is kept for the application. Where the application waits for
    the body itself, or has begun to answer, it hears of the client's departure or writes to nobody: that is left to it.

    `when(scope)` chooses the requests that are watched; all of them by default. Nobody hears the end of the others.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        sweep: Sweep | None = None,
        after: float = 0.1,
        when: Callable[[Scope], bool] | None = None,
    ) -> None:
        super().__init__(app)
        if after <= 0:
            raise ValueError("a client is looked for after a time above 0")
        self._sweep = Sweep() if sweep is None else sweep  # an empty sweep is false
        self._after = after
        self._when = when
        self._note = note_key(self, "watch")

    def enter(self, x: Exchange) -> None:
        """Stand between server and application, and look later."""
        scope, sweep = x.scope, self._sweep
        if self._when is not None and not self._when(scope):
            return
        found: Inbox | None = scope.get(INBOX)
        inbox = scope[INBOX] = found or Inbox(x.receive, sweep.now)
        task = current_task(sweep.loop) or sweep.current_task()
        watch = scope[self._note] = _Watch(
            sweep.now() + self._after, self._after, inbox, sweep, task, task.cancelling() if task else 0, found is None
        )
        sweep.add(watch)
        if found is None:  # else it is asked already, maybe through somebody in between
            x.receive = inbox.receive

    def start(self, x: Exchange, message: Message) -> None:
        """An answer that has begun is the application's own matter."""
        watch = x.scope.get(self._note)
        if watch is not None:
            watch.stop()

    def rescue(self, x: Exchange, error: BaseException) -> None:
        """Say why it was cancelled, if that was us; any other cancellation is not ours."""
        watch: _Watch | None = x.scope.get(self._note)
        if watch is None or x.started or not isinstance(error, asyncio.CancelledError) or not watch.withdraw():
            return
        mark_refused(x.scope, 0)
        raise ClientLeft("the client has gone") from None

    def leave(self, x: Exchange) -> None:
        """Watch no more."""
        watch: _Watch | None = x.scope.pop(self._note, None)
        if watch is not None:
            watch.stop()
            watch.withdraw()
            if watch.owned:
                watch.inbox.close()
                del x.scope[INBOX]


class _Watch(Struct, eq=False):
    """One request under watch; an entry of the sweep."""

    at: float
    after: float
    """0 when it is over."""
    inbox: Inbox
    sweep: Sweep
    task: asyncio.Task[Any] | None
    cancelling: int
    """Cancellations of that task that were under way when the watch began."""
    owned: bool
    """The inbox is this layer's."""
    fired: bool = False

    def expire(self) -> None:
        """Look for the client, now and again; one whose body the application waits for is looked for by that."""
        if not self.inbox.reading:
            self.inbox.watch(self._gone)
        self.at = self.sweep.now() + self.after
        self.sweep.add(self)

    def stop(self) -> None:
        """Cancel nothing any more."""
        self.sweep.remove(self)
        self.after = 0.0

    def withdraw(self) -> bool:
        """Take back the cancellation that we caused; whether there was one and it was the only one."""
        if not self.fired or self.task is None:
            return False
        self.fired = False
        return self.task.uncancel() <= self.cancelling

    def _gone(self) -> None:
        if self.after and self.task is not None:
            self.sweep.remove(self)
            self.after = 0.0
            self.fired = True
            self.task.cancel("the client has gone")
