"""Layers whose hooks write down that they ran, and do as they are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astra_core.asgi import Layer, Response

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Exchange, Message, Receive, Scope, Send

Log = list[tuple[Any, ...]]


class Boom(Exception):  # noqa: N818 - it stands in tables
    """What a recorder raises."""


@dataclass(frozen=True)
class Answer:
    """An application: sends `status`, unless that is 0, then raises `error` if there is one."""

    name: str
    log: Log
    status: int = 200
    error: type[BaseException] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        self.log.append(("app", self.name))
        if self.status:
            await Response(self.status, self.name.encode())(scope, receive, send)
        if self.error is not None:
            raise self.error(self.name)


@dataclass(frozen=True)
class Act:
    """What the hooks of one layer do: "" is no hook of that name, "pass" only writes down."""

    enter: str = "pass"
    start: str = "pass"
    rescue: str = "pass"
    leave: str = "pass"


class Recorder(Layer):
    """A layer with all four hooks."""

    def __init__(self, app: ASGIApp, name: str, log: Log, act: Act | None = None) -> None:
        self.name = name
        self.log = log
        self.act = act or Act()
        self.seen: list[Exchange] = []
        for hook in ("enter", "start", "rescue", "leave"):
            if not getattr(self.act, hook):
                setattr(self, hook, None)
        super().__init__(app)

    def enter(self, x: Exchange) -> ASGIApp | None:
        """Write down; raise, refuse or let through."""
        self.seen.append(x)
        return self._do("enter", self.act.enter, x)

    def start(self, x: Exchange, message: Message) -> None:
        """Write down; raise, or change the message."""
        message["headers"].append((b"by", self.name.encode()))
        if self.act.start == "teapot":
            message["status"] = 418
        self._do("start", self.act.start, x)

    def rescue(self, x: Exchange, error: BaseException) -> ASGIApp | None:
        """Write down; raise, answer or let the error pass."""
        return self._do("rescue", self.act.rescue, x, type(error), error.args)

    def leave(self, x: Exchange) -> None:
        """Write down; raise."""
        self._do("leave", self.act.leave, x)

    def _do(self, hook: str, act: str, x: Exchange, *more: Any) -> ASGIApp | None:
        self.log.append((hook, self.name, x.status, *more))
        name = f"{hook} of {self.name}"
        if act == "raise":
            raise Boom(name)
        if act == "answer":
            return Answer(name, self.log, 503)
        if act == "fail":
            return Answer(name, self.log, 0, Boom)
        if act == "answer and fail":
            return Answer(name, self.log, 503, Boom)
        return None


class Foreign:
    """Middleware that is none of ours: it splits a chain."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Only pass on."""
        await self.app(scope, receive, send)
