"""Dead letters: work that was given up, handed to whoever can keep it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["DeadLetter", "DeadLetters", "deliver"]

_log = logging.getLogger("astra.keyed")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Work for `key` that failed `attempts` times, at last by `error`: `call(*args)` would try it once more."""

    key: Hashable
    call: Callable[..., Any]
    args: tuple[Any, ...]
    error: BaseException
    attempts: int


DeadLetters: TypeAlias = "Callable[[DeadLetter], Awaitable[None] | None]"
"""Takes a letter, plainly or as a coroutine function. Its key goes on when that is done, so letters are in order."""


async def deliver(letter: DeadLetter, to: DeadLetters | None) -> None:
    """Hand `letter` over; without a taker, or when the taker fails, it is logged, and the key goes on all the same."""
    if to is None:
        _log.error("work for %r given up after %d attempts", letter.key, letter.attempts, exc_info=letter.error)
        return
    try:
        taken = to(letter)
        if isinstance(taken, Awaitable):
            await taken
    except Exception:
        _log.exception("the taker of dead letters failed on %r", letter)
