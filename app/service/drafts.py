"""From what a caller asked for to a link that keeps every rule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from app.domain import (
    InvalidLink,
    InvalidUrl,
    Link,
    Problem,
    ReservedCode,
    check_code,
    check_fields,
    clean_tags,
    is_reserved,
    normalise,
    own_places,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Draft", "LinkRules", "draft_link"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRules:
    """What an operator decides about links. `own_hosts` are this service's own names, as `host` or `host:port`."""

    own_hosts: frozenset[str]
    allow_credentials: bool
    max_url: int
    redirect_status: int

    def href(self, url: str, problems: list[Problem], *, via: str = "") -> str:
        """Return the WHATWG href of `url`; add to `problems` when the URL rules refuse it.

        `via` is the host that the request came to: another name of ours, whatever the settings say.
        """
        own = self.own_hosts if not via or via in self.own_hosts else _places_with(self.own_hosts, via)
        try:
            return normalise(url, own_hosts=own, allow_credentials=self.allow_credentials, max_length=self.max_url)
        except InvalidUrl as error:
            problems.append(Problem("/url", error.detail))
            return ""


class Draft(Struct, frozen=True, kw_only=True):
    """A link as asked for; times in microseconds since the epoch."""

    url: str
    code: str | None = None
    starts_at: int | None = None
    expires_at: int | None = None
    max_visits: int | None = None
    redirect_status: int | None = None
    forward_query: bool = False
    tags: Sequence[str] = ()
    title: str | None = None
    private: bool = False
    reuse: bool = False
    via: str = ""
    """The host[:port] that the request came to."""


@lru_cache(maxsize=256)
def _places_with(own: frozenset[str], host: str) -> frozenset[str]:
    """Return `own` and the places of one host more; requests come to few, so parsing each is done once."""
    return own | own_places([host])


def draft_link(draft: Draft, rules: LinkRules, *, now: int) -> Link:
    """Return the link, with the draft's code or none yet. Raises `InvalidLink` with all problems, `ReservedCode`."""
    problems: list[Problem] = []
    url = rules.href(draft.url, problems, via=draft.via)
    tags = clean_tags(draft.tags)
    status = rules.redirect_status if draft.redirect_status is None else draft.redirect_status
    if draft.code is not None:
        if is_reserved(draft.code):
            raise ReservedCode(draft.code)
        problems += check_code(draft.code)
    if draft.private and draft.code is not None:
        problems.append(Problem("/code", "must be left out of a private link, whose code is random"))
    problems += check_fields(
        starts_at=draft.starts_at,
        expires_at=draft.expires_at,
        max_visits=draft.max_visits,
        redirect_status=status,
        tags=tags,
        title=draft.title,
        now=now,
    )
    if problems:
        raise InvalidLink(problems)
    return Link(
        code=draft.code or "",
        url=url,
        created_at=now,
        updated_at=now,
        starts_at=draft.starts_at,
        expires_at=draft.expires_at,
        max_visits=draft.max_visits,
        redirect_status=status,
        forward_query=draft.forward_query,
        tags=tags,
        title=draft.title,
        private=draft.private,
    )
