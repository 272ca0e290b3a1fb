"""What the engine needs of a pool of threads; `keyed.BlockingPool` is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pool"]

T = TypeVar("T")


class Pool(Protocol):
    """Runs blocking calls in threads of its own. The writer's pool has exactly one thread."""

    async def run(self, call: Callable[..., T], *args: Any, deadline: float | None = None) -> T:
        """Return `call(*args)`; raises `Overloaded` when full, `TimeoutError` after `deadline` seconds."""
        ...
