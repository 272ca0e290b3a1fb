"""What the redirect path keeps of a link: a flat struct that the garbage collector never looks at.

A million entries that held dicts and lists would cost a collection of 500 ms, and tuples one of 80 ms whenever many of
them are new: a tuple is tracked until a first collection has looked at it. A struct of bytes and numbers with
`gc=False` never is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from app.domain import BaseState

if TYPE_CHECKING:
    from app.domain import Link

__all__ = [
    "FORWARDS",
    "GONE",
    "LIMITED",
    "PLAIN",
    "TIMED",
    "Entry",
    "entry_of",
    "filled_again",
]


class Entry(Struct, frozen=True, gc=False):
    """One link, flat. Times are wall time in seconds, but for `filled_at`."""

    kind: int
    """`PLAIN`, or the sum of what else it is."""
    status: int
    location: bytes
    code: bytes
    starts_at: float
    """0.0 without a start."""
    expires_at: float
    """Infinite without an expiry."""
    filled_at: float
    """Monotonic time at which the read began."""


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
    return Entry(
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
    return replace(entry, filled_at=at)
