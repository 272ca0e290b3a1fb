"""What the redirect path keeps of a link: a flat tuple, so that the garbage collector need not look at it.

A million entries that held dicts and lists would cost a collection of 500 ms; tuples of bytes, ints and floats are
untracked and cost about 4 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from app.domain import BaseState

if TYPE_CHECKING:
    from app.domain import Link

__all__ = [
    "CODE",
    "EXPIRES_AT",
    "FILLED_AT",
    "FORWARDS",
    "GONE",
    "KIND",
    "LIMITED",
    "LOCATION",
    "PLAIN",
    "STARTS_AT",
    "STATUS",
    "TIMED",
    "Entry",
    "entry_of",
    "filled_again",
]

Entry: TypeAlias = tuple[int, int, bytes, bytes, float, float, float]

KIND: Final = 0
STATUS: Final = 1
LOCATION: Final = 2
CODE: Final = 3
STARTS_AT: Final = 4
"""Wall time in seconds; 0.0 without a start."""
EXPIRES_AT: Final = 5
"""Wall time in seconds; infinite without an expiry."""
FILLED_AT: Final = 6
"""Monotonic time in seconds at which the read began."""

PLAIN: Final = 0
"""Answered from the cache alone, whenever."""
TIMED: Final = 1
"""Start and expiry decide at every answer."""
LIMITED: Final = 2
"""Every visit takes from `max_visits` in the store."""
FORWARDS: Final = 4
"""The request's query goes along."""
GONE: Final = 8
"""Disabled, deleted or exhausted: 410."""

_NEVER = float("inf")
_MICROSECOND = 1e-6


def entry_of(link: Link, *, remaining: int | None, filled_at: float) -> Entry:
    """Flatten a link. `remaining` are the visits left, None without a limit."""
    kind = PLAIN
    if link.starts_at is not None or link.expires_at is not None:
        kind |= TIMED
    if remaining is not None:
        kind |= LIMITED
    if link.forward_query:
        kind |= FORWARDS
    if link.base is not BaseState.ACTIVE or (remaining is not None and remaining <= 0):
        kind |= GONE
    return (
        kind,
        link.redirect_status,
        link.url.encode("ascii"),
        link.code.encode("ascii"),
        0.0 if link.starts_at is None else link.starts_at * _MICROSECOND,
        _NEVER if link.expires_at is None else link.expires_at * _MICROSECOND,
        filled_at,
    )


def filled_again(entry: Entry, at: float) -> Entry:
    """Return the entry as if it had been read at `at`."""
    return (*entry[:FILLED_AT], at)
