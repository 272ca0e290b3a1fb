"""The per-request object that the layers of one chain share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from astra_core.asgi.layer import StartHook
    from astra_core.asgi.types import Message, Receive, Scope, Send

__all__ = ["Exchange"]


class Exchange:
    """One HTTP request and its answer, seen by every hook of a chain.

    `status` is 0 until `http.response.start` was handed to the server, so also in the `start` hooks, which may change
    it; from then on no layer may answer any more. `began`, in seconds of their clock, and `size`, in bytes of the
    answer, are set by layers that measure, and belong to nobody else. `receive` and `outlet` are the server's, until a
    layer puts its own in their place: what the client sends, and where all that is sent to it goes.
    """

    began: float
    size: int

    __slots__ = ("_notes", "_starts", "began", "outlet", "receive", "scope", "size", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send, starts: tuple[StartHook, ...]) -> None:
        self.scope = scope
        self.receive = receive
        self.status: int = 0
        self.outlet = send
        self._starts = starts
        self._notes: dict[str, Any] | None = None

    @property
    def notes(self) -> dict[str, Any]:
        """Room for what a layer keeps of this request; made at the first use, since most layers keep nothing."""
        if self._notes is None:
            self._notes = {}
        return self._notes

    @property
    def started(self) -> bool:
        """Whether `http.response.start` was sent."""
        return self.status != 0

    def within(self, starts: tuple[StartHook, ...]) -> None:
        """Let only these `start` hooks see the answer: a layer answers for the ones inside it."""
        self._starts = starts

    def send(self, message: Message) -> Awaitable[None]:
        """Send to the server, past the `start` hooks. A plain function: the server's own awaitable goes back."""
        if message["type"] != "http.response.start":
            return self.outlet(message)
        for start in self._starts:
            start(self, message)
        sending = self.outlet(message)
        self.status = message["status"]
        return sending

    def __repr__(self) -> str:
        return f"<Exchange {self.scope.get('method')} {self.scope.get('path')!r} status={self.status}>"
