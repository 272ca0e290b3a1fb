"""The port of all that runs work by key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

__all__ = ["Executor"]

T = TypeVar("T")


class Executor(Protocol):
    """Runs work for one key one at a time, in the order in which it was handed over; other keys run meanwhile.

    `call` is a coroutine function or a plain one; what it returns is awaited if it can be. An `Exception` out of it
    is a failed attempt. After the last one the work goes to the dead letters and its key goes on. Work that waits
    for work which can only begin after it gets `Reentered`. For callers of one event loop.
    """

    @overload
    async def submit(self, key: Hashable, call: Callable[..., Awaitable[T]], *args: Any) -> T: ...

    @overload
    async def submit(self, key: Hashable, call: Callable[..., T], *args: Any) -> T: ...

    async def submit(self, key: Hashable, call: Callable[..., Any], *args: Any) -> Any:
        """Return `call(*args)`, or raise what its last attempt raised; raises `WorkRefused` when there is no room.

        A caller who is cancelled before its work began takes it back.
        """
        ...

    def post(self, key: Hashable, call: Callable[..., Any], *args: Any) -> None:
        """Hand work over without waiting for it, as work may do even for its own key; raises `WorkRefused`.

        It runs in a copy of the caller's context, without the deadline there: it outlives that.
        """
        ...

    async def close(self, *, timeout: float) -> int:
        """Refuse new work and let what was accepted end, within `timeout` seconds; return how much of it was cut.

        What accepted work itself submits meanwhile is still taken. Who waits for work that is cut gets `WorkCut`, or
        `WorkRefused` if it had not begun.
        """
        ...
