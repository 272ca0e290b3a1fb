"""A link as it is stored, and the state that its times and limits give it at a moment.

Every time is a whole number of microseconds since the Unix epoch, UTC: exact, ordered, and an int is what an index
and a cache entry hold.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

__all__ = ["BaseState", "Link", "LinkState", "due_state", "state_of"]


class BaseState(StrEnum):
    """What people made of a link; the rest of its state follows from times and limits."""

    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


class LinkState(StrEnum):
    """The state of a link as seen from outside, at a moment."""

    SCHEDULED = "scheduled"
    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"
    DELETED = "deleted"


class Link(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The stored record. Its version, its visits and what remains of `max_visits` are kept by the store beside it.

    A field added later needs a default, so that older records still decode; a field not known is skipped, so that
    an older worker still reads what a newer one wrote.
    """

    code: str
    url: str
    """The WHATWG href, ASCII; see `app.domain.urls`."""
    created_at: int
    updated_at: int
    starts_at: int | None = None
    """From this moment on it redirects."""
    expires_at: int | None = None
    """From this moment on it redirects no more."""
    max_visits: int | None = None
    redirect_status: int = 302
    forward_query: bool = False
    tags: tuple[str, ...] = ()
    title: str | None = None
    private: bool = False
    base: BaseState = BaseState.ACTIVE


def due_state(link: Link, now: int, remaining: int | None) -> LinkState:
    """Return what times and limits alone make of the link at `now`, were it neither disabled nor deleted.

    `remaining` is the balance of its visits, None when it has no limit.
    """
    if remaining is not None and remaining <= 0:
        return LinkState.EXHAUSTED
    if link.expires_at is not None and now >= link.expires_at:
        return LinkState.EXPIRED
    if link.starts_at is not None and now < link.starts_at:
        return LinkState.SCHEDULED
    return LinkState.ACTIVE


def state_of(link: Link, now: int, remaining: int | None) -> LinkState:
    """Return the state at `now`: deleted, else disabled, else what is due (exhausted, expired, scheduled, active)."""
    if link.base is BaseState.DELETED:
        return LinkState.DELETED
    if link.base is BaseState.DISABLED:
        return LinkState.DISABLED
    return due_state(link, now, remaining)
