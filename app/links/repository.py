"""Links as records: the collection they live in, and the writes that create and change them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from app.domain import BaseState, Link, next_due
from app.links.beginning import announcement
from astra_core.storage.records import Collection, Index, Query
from astra_core.storage.writes import Add, Change, Insert, Replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astra_core.storage.records import Record
    from astra_core.storage.store import Store
    from astra_core.storage.writes import Entries, Scalar, Write

__all__ = [
    "DUE",
    "EXHAUSTED",
    "FEED",
    "LINKS",
    "REMAINING",
    "LinkPage",
    "LinkRepository",
    "SortKeys",
    "StoredLink",
    "digest_of",
    "place_of",
]

FEED = "links"
"""The changes feed that carries the code of every link created, changed or deleted."""
EXHAUSTED = "exhausted"
"""The changes feed that carries the code of each link whose visits may be used up, for its history to tell so."""
REMAINING = "remaining"
"""The set of counters that holds the visits left of each link with a limit."""
REUSE = "reuse"
"""The unique index that keeps two concurrent requests from making the same reusable link twice."""

_NEWEST, _BASE, _TAG, _EQUAL, DUE = "newest", "base", "tag", "alike", "next_due"

LINKS = Collection(
    name="links",
    indexes=(
        Index(name=_NEWEST),
        Index(name=_BASE, parts=2),
        Index(name=_TAG, parts=2, multi=True),
        Index(name=_EQUAL, parts=2, multi=True, deferred=True),
        Index(name=REUSE, unique=True),
        Index(name=DUE, multi=True),  # one entry at most; apart, so that links without times do not have the column
    ),
)

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Link)


class StoredLink(msgspec.Struct, frozen=True):
    """A link and the version of its record."""

    link: Link
    version: int

    @property
    def edition(self) -> int:
        """The version as callers know it, which what timers and limits record does not move."""
        return self.version if self.link.course is None else self.link.course.edition


@dataclass(frozen=True, slots=True)
class LinkPage:
    """Links, newest first, and where the next page begins."""

    links: tuple[StoredLink, ...]
    next: tuple[Scalar, ...] | None


def place_of(link: Link, *, after: Link | None = None) -> str:
    """Return the place in `REUSE` that a reusable link claims: the first of its equals, or the one `after` another.

    Where the equals that there are serve no more, all who come at once would make the next one; so the next one has a
    place too, named by whom it follows.
    """
    return digest_of(link) if after is None else f"{digest_of(link)}:{after.code}"


def digest_of(link: Link) -> str:
    """Name what makes two links equal: everything the caller chose but the code."""
    chosen = (
        link.url,
        link.starts_at,
        link.expires_at,
        link.max_visits,
        link.redirect_status,
        link.forward_query,
        link.tags,
        link.title,
        link.private,
    )
    return hashlib.blake2b(_ENCODER.encode(chosen), digest_size=16).hexdigest()


def _number_of(digest: str) -> int:
    """Return the half of a digest that `equal` is ordered by: an entry takes half the room, and who reads compares."""
    return int(digest[:16], 16) - 2**63


class SortKeys(Protocol):
    """What records of links are kept by: codes lie in no order, and an index is cheap to fill in order."""

    def sort_key(self, code: str, /) -> str:
        """Return the key of a code's record; no two codes have the same."""
        ...

    def code_of(self, sort_key: str, /) -> str:
        """Return the code whose key that is."""
        ...


class _AsTheyAre:
    """Records are kept by their codes."""

    def sort_key(self, code: str, /) -> str:
        return code

    def code_of(self, sort_key: str, /) -> str:
        return sort_key


class LinkRepository:
    """Reads links, and says what to commit to create or change one; knows the store's port and no engine.

    Creations are told on the topic `announce`, unless that is empty. Everybody who works on one store needs the same
    `keys`; nobody but this class knows what they are, all others name links by their codes.
    """

    def __init__(self, store: Store, *, keys: SortKeys | None = None, announce: str = "") -> None:
        self._store = store
        self._announce = announce
        keys = keys or _AsTheyAre()
        self.sort_key, self.code_of = keys.sort_key, keys.code_of

    async def get(self, code: str) -> StoredLink | None:
        """Return a link in whatever state, deleted ones included."""
        record = await self._store.get(LINKS.name, self.sort_key(code))
        return None if record is None else _stored(record)

    async def get_with_remaining(self, code: str) -> tuple[Link, int | None] | None:
        """Return a link and the visits it has left (None: no limit)."""
        stored = await self.get(code)
        if stored is None:
            return None
        if stored.link.max_visits is None:
            return stored.link, None
        return stored.link, (await self.remaining([code]))[code]

    async def remaining(self, codes: Sequence[str]) -> Mapping[str, int]:
        """Return the visits left of links that have a limit."""
        return await self._store.counts(REMAINING, codes)

    async def equal_to(self, link: Link, *, limit: int) -> tuple[StoredLink, ...]:
        """Return links that are not deleted and equal `link` in all but the code, newest first."""
        digest = digest_of(link)
        query = Query(collection=LINKS.name, index=_EQUAL, prefix=(_number_of(digest),), descending=True, limit=limit)
        found = map(_stored, (await self._store.find(query)).records)
        return tuple(one for one in found if digest_of(one.link) == digest)

    async def page(
        self,
        *,
        base: BaseState | None,
        tag: str | None,
        contains: str,
        after: tuple[Scalar, ...] | None,
        limit: int,
    ) -> LinkPage:
        """Return links newest first; without a `base` all but the deleted ones. With both, `tag` narrows.

        `base` is a state that few links are in: what is active has no index of its own, it would list nearly all.
        """
        index, prefix = _NEWEST, tuple[str, ...]()
        if tag is not None and base is not BaseState.DELETED:
            index, prefix = _TAG, (tag,)
        elif base is not None:
            index, prefix = _BASE, (base.value,)
        query = Query(
            collection=LINKS.name,
            index=index,
            prefix=prefix,
            contains=contains.lower(),
            descending=True,
            after=None if after is None else (*after[:-1], self.sort_key(str(after[-1]))),
            limit=limit,
        )
        page = await self._store.find(query)
        following = None if page.next is None else (*page.next[:-1], self.code_of(str(page.next[-1])))
        return LinkPage(tuple(map(_stored, page.records)), following)

    def creation(self, link: Link, *, key: str = "", place: str = "") -> list[Write]:
        """Return what to commit for a new link; the insert stands first.

        `key` is the sort key of its code, if that is known already, and `place` what it claims in `REUSE`.
        """
        writes: list[Write] = [
            Insert(
                collection=LINKS.name,
                key=key or self.sort_key(link.code),
                value=_ENCODER.encode(link),
                entries=_entries(link, place=place),
                text=_text(link),
            ),
            Change(feed=FEED, key=link.code),
        ]
        if link.max_visits is not None:
            writes.append(Add(counters=REMAINING, amounts={link.code: link.max_visits}))
        if self._announce:
            writes.append(announcement(link, self._announce))
        return writes

    def replacement(self, link: Link, *, version: int, added: int = 0, seen: bool = True) -> list[Write]:
        """Return what to commit to change a link that stands at `version`; `added` are visits more that it allows.

        Without `seen` it is the same to whoever follows or reads it, so no cache has to drop it.
        """
        writes: list[Write] = [
            Replace(
                collection=LINKS.name,
                key=self.sort_key(link.code),
                version=version,
                value=_ENCODER.encode(link),
                entries=_entries(link),
                text=_text(link),
            ),
        ]
        if seen:
            writes.append(Change(feed=FEED, key=link.code))
        if added:
            writes.append(Add(counters=REMAINING, amounts={link.code: added}))
        if added < 0:  # a visit that comes between may make it the last one, and does not know
            writes.append(Change(feed=EXHAUSTED, key=link.code))
        return writes


def _stored(record: Record) -> StoredLink:
    return StoredLink(_DECODER.decode(record.value), record.version)


def _entries(link: Link, *, place: str = "") -> Entries:
    created = link.created_at
    if link.base is BaseState.DELETED:
        return {_BASE: ((link.base.value, created),)}
    entries: dict[str, tuple[tuple[Scalar, ...], ...]] = {
        _NEWEST: ((created,),),
        _EQUAL: ((_number_of(digest_of(link)), created),),
    }
    if link.base is not BaseState.ACTIVE:
        entries[_BASE] = ((link.base.value, created),)
    if link.tags:
        entries[_TAG] = tuple((tag, created) for tag in link.tags)
    if place:
        entries[REUSE] = ((place,),)
    if (link.starts_at is not None or link.expires_at is not None) and (due := next_due(link)) is not None:
        entries[DUE] = ((due,),)
    return entries


def _text(link: Link) -> str:
    return " ".join((link.code, link.url, link.title or "")).lower()
