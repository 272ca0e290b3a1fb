"""Ends answers that their client does not take."""

from __future__ import annotations

import asyncio
from asyncio import current_task
from math import inf
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from astra_core.asgi import ClientLeft, Layer
from astra_core.events import DeadlineExpired
from astra_core.resilience import Sweep

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Exchange, Message, Send
    from astra_core.events import Listener

__all__ = ["SendTimeoutMiddleware"]


class SendTimeoutMiddleware(Layer):
    """Ends a request of whose answer the client takes nothing for `timeout` seconds, as nginx's `send_timeout` does.

    A server that can hand on no more holds the next `send` back: over HTTP/1 once its buffers are full, over HTTP/2 for
    as long as the client opens no window, which may be from the first byte and for ever. Without a bound such a client
    keeps whatever the request holds, the permit of a limiter above all; a thousand streams that read nothing take a
    whole service. How long an answer takes as a whole is left to it, and so is the time between two of its parts.

    Put it outside of whatever the request holds. `timeout` may be replaced while it runs. A request that it ended is
    told to `listeners` as `DeadlineExpired` under `name`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        timeout: float = 10.0,
        sweep: Sweep | None = None,
        listeners: Listener | None = None,
        name: str = "send",
    ) -> None:
        super().__init__(app)
        if timeout <= 0:
            raise ValueError("a client has a time above 0 to take what is sent")
        self.timeout = timeout
        self.sweep = Sweep() if sweep is None else sweep  # an empty sweep is false
        self._listeners = listeners
        self._name = name

    def enter(self, x: Exchange) -> None:
        """Stand between answer and server."""
        x.outlet = _Sending(self, x.outlet)

    def expired(self) -> ClientLeft:
        """Tell of a client that took nothing, and return what ends its request."""
        if self._listeners is not None:
            self._listeners(DeadlineExpired(self._name, self.timeout, own=True))
        return ClientLeft(f"the client took nothing of its answer for {self.timeout:g} s")


class _Sending(Struct, eq=False):
    """What one request sends; an entry of the sweep while it waits for the client."""

    layer: SendTimeoutMiddleware
    send: Send
    at: float = inf
    task: asyncio.Task[Any] | None = None
    fired: bool = False

    async def __call__(self, message: Message) -> None:
        sweep = self.layer.sweep
        task = self.task = current_task(sweep.loop) or sweep.current_task()
        before = task.cancelling() if task else 0
        self.at = sweep.now() + self.layer.timeout
        sweep.add(self)
        try:
            await self.send(message)
        except asyncio.CancelledError:
            if not self.fired or task is None or task.uncancel() > before:
                raise  # somebody else's, or theirs too
            raise self.layer.expired() from None
        finally:
            sweep.remove(self)

    def expire(self) -> None:
        """Cancel what sends."""
        self.fired = True
        if self.task is not None:
            self.task.cancel("the client takes nothing")
