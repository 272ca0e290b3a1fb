"""Middleware that fuses: nine layers in a row cost one coroutine, one `Exchange` and one wrapped `send`.

A `Layer` is an ordinary ASGI class and works alone round any application. When one Layer directly wraps another, the
outer absorbs the inner's chain and drives all of it; a foreign middleware in between only splits the chain in two.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from astra_core.asgi.exchange import Exchange

if TYPE_CHECKING:
    from astra_core.asgi.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ClientLeft", "Layer", "StartHook"]

StartHook: TypeAlias = Callable[[Exchange, "Message"], None]
EnterHook: TypeAlias = Callable[[Exchange], "ASGIApp | None"]
RescueHook: TypeAlias = Callable[[Exchange, BaseException], "ASGIApp | None"]
LeaveHook: TypeAlias = Callable[[Exchange], None]
Unwinding: TypeAlias = "tuple[int, RescueHook | None, LeaveHook | None]"

logger = logging.getLogger(__name__)


class ClientLeft(asyncio.CancelledError):
    """The request is cancelled because nobody waits for its answer: the outermost layer ends it without a word."""


class Layer:
    """Base of every middleware: override the hooks you need, all of them plain functions.

    * `enter(x)` before the application. It may return another application to run instead (a refusal, a queue), and
      put another `x.receive` in place of the server's.
    * `start(x, message)` at `http.response.start`; it may change the message. An answer that a `start` hook broke by
      raising was not sent: a `rescue` may give another, which the hooks then see too.
    * `rescue(x, error)` when the inside raised. It may return an application to run now (a replay, a 504); that is
      ignored once the answer has begun, since nothing may answer twice.
    * `leave(x)` at the end, always and once for each layer whose `enter` returned.

    A cancellation that is `ClientLeft` ends here: the outermost layer returns, and the server is told nothing.

    `enter` runs from the outermost layer inwards, the others from the innermost outwards: an error leaves a layer
    before it comes to the next one, as it would if each were a coroutine of its own. Only HTTP requests pass the hooks;
    lifespan and websockets go straight to the application.
    """

    enter: ClassVar[Callable[..., ASGIApp | None] | None] = None
    start: ClassVar[Callable[..., None] | None] = None
    rescue: ClassVar[Callable[..., ASGIApp | None] | None] = None
    leave: ClassVar[Callable[..., None] | None] = None

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._fused: tuple[Layer, ...] = (self,)
        self._core: ASGIApp = app
        if isinstance(app, Layer) and type(app).__call__ is Layer.__call__:
            self._fused += app._fused
            self._core = app._core
        self._depth = len(self._fused)
        self._enters: tuple[tuple[int, EnterHook], ...] = self._hooks("enter")
        self._unwinding: tuple[Unwinding, ...] = tuple(
            (place, layer.rescue, layer.leave) for place, layer in enumerate(self._fused)
        )[::-1]
        leaves = self._hooks("leave")[::-1]
        self._leaves_within: tuple[tuple[LeaveHook, ...], ...] = tuple(
            tuple(hook for place, hook in leaves if place < depth) for depth in range(self._depth + 1)
        )
        self._starts_within = tuple(self._starts_of(depth) for depth in range(self._depth + 1))
        self._starts = self._starts_within[self._depth]

    def _hooks(self, name: str) -> tuple[tuple[int, Callable[..., None]], ...]:
        bound = ((place, getattr(layer, name)) for place, layer in enumerate(self._fused))
        return tuple((place, hook) for place, hook in bound if hook is not None)

    def _starts_of(self, depth: int) -> tuple[StartHook, ...]:
        return tuple(hook for place, hook in self._hooks("start")[::-1] if place < depth)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Drive one request through the whole chain."""
        if scope["type"] != "http":
            await self._core(scope, receive, send)
            return
        x = Exchange(scope, receive, send, self._starts)
        app, entered = self._core, 0
        try:
            for entered, enter in self._enters:
                instead = enter(x)
                if instead is not None:
                    entered += 1
                    x.within(self._starts_within[entered])
                    app = instead
                    break
            else:
                entered = self._depth
            await app(scope, x.receive, x.send)
        except BaseException as error:
            await self._unwind(x, entered, error)
        else:
            for leave in self._leaves_within[entered]:
                try:  # as in `_depart`, without its frame
                    leave(x)
                except Exception:
                    logger.exception("a leave hook raised")

    async def _unwind(self, x: Exchange, entered: int, error: BaseException | None) -> None:
        """Let each entered layer rescue, then leave, innermost first; raise what none of them answered."""
        for place, rescue, leave in self._unwinding:
            if place >= entered:
                continue
            if rescue is not None and isinstance(error, (Exception, asyncio.CancelledError)):
                try:
                    app = rescue(x, error)
                    if app is not None and not x.started:
                        x.within(self._starts_within[place + 1])
                        await app(x.scope, x.receive, x.send)
                        error = None
                except BaseException as later:
                    error = later
            if leave is not None:
                _depart(x, leave)
        if error is not None and not isinstance(error, ClientLeft):
            raise error

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.app!r})"


def _depart(x: Exchange, leave: LeaveHook) -> None:
    try:
        leave(x)
    except Exception:
        logger.exception("a leave hook raised")
