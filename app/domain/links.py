"""A link as it is stored, and the state that its times and limits give it at a moment.

Every time is a whole number of microseconds since the Unix epoch, UTC: exact, ordered, and an int is what an index
and a cache entry hold.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

__all__ = [
    "BaseState",
    "Course",
    "Link",
    "LinkState",
    "due_state",
    "first_state",
    "next_due",
    "recorded_state",
    "state_of",
]


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


class Course(Struct, frozen=True, kw_only=True, gc=False):
    """Where the history of a link began and how far it has come."""

    first: LinkState
    """The state that it was made in."""
    state: LinkState
    """The state that its last event led to."""
    edition: int
    """Its version as callers know it: what timers and limits record is a version of the record alone."""


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
    course: Course | None = None
    """None until something happens to it: then its history is what the record says of its beginning."""


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


def first_state(link: Link) -> LinkState:
    """Return the state that it was made in. Of one changed before histories were kept, the state that is known."""
    if link.course is not None:
        return link.course.first
    if link.base is BaseState.ACTIVE:
        waits = link.starts_at is not None and link.starts_at > link.created_at
        return LinkState.SCHEDULED if waits else LinkState.ACTIVE
    return LinkState.DISABLED if link.base is BaseState.DISABLED else LinkState.DELETED


def recorded_state(link: Link) -> LinkState:
    """Return the state that its history leads to; times may have gone on since, which `state_of` knows."""
    return first_state(link) if link.course is None else link.course.state


def next_due(link: Link) -> int | None:
    """Return when time moves it next out of the state that is recorded."""
    state = recorded_state(link)
    if state is LinkState.SCHEDULED:
        return link.starts_at
    return link.expires_at if state is LinkState.ACTIVE else None
