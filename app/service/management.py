"""Reading, changing and listing links."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from app.domain import BaseState, InvalidLink, LinkState, Problem, apply, check_code, check_fields, clean_tags, decide
from app.service.errors import InvalidCursor, NotAllowed, UnknownLink, VersionMismatch
from app.service.snapshot import Snapshot, snapshots
from astra_core.errors import CommitConflict, ConflictReason, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from app.domain import Link
    from app.domain.lifecycle import LinkEvent
    from app.links import LinkRepository, Resolver, StoredLink
    from app.service.drafts import LinkRules
    from astra_core.clock import Clock
    from astra_core.storage.store import Store
    from astra_core.storage.writes import Scalar

__all__ = ["LinkManager", "Listing", "SnapshotPage"]

_TRIES = 5
"""Times that a change without a version of its caller's is decided anew because another one came first."""
_FILTERED_PAGES = 20
"""Pages read for one answer when a filter leaves few of each; the cursor goes on from there."""
_FILTERED_LINKS = 100
"""Links that such a page holds at least, however few are asked for: 2,000 are looked at before a page is short."""
_LATEST = 2**63
"""Times are whole numbers of 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a listing asks for."""

    limit: int
    cursor: str | None = None
    tag: str | None = None
    state: LinkState | None = None
    contains: str = ""

    def fingerprint(self) -> str:
        """Name the listing that a cursor belongs to."""
        asked = msgspec.json.encode((self.tag, self.state, self.contains))
        return hashlib.blake2b(asked, digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class SnapshotPage:
    """Links, newest first, and the cursor of the next page."""

    items: list[Snapshot]
    next_cursor: str | None


class LinkManager:
    """The management side of links; every change is one commit at the version it was decided on."""

    def __init__(self, store: Store, links: LinkRepository, resolver: Resolver, *, clock: Clock) -> None:
        self._store = store
        self._links = links
        self._resolver = resolver
        self._clock = clock

    async def get(self, code: str) -> Snapshot:
        """Return a link. Raises `UnknownLink`, also for a deleted one."""
        return (await self._read(code))[1]

    async def patch(
        self,
        code: str,
        members: Mapping[str, Any],
        *,
        rules: LinkRules,
        versions: Container[int] | None,
        via: str = "",
    ) -> Snapshot:
        """Apply a merge patch: members of `Link` by name, None for the default. Raises `InvalidLink` and the rest.

        The link must stand at one of `versions`, where these are given.
        """

        def patched(before: Snapshot, now: int) -> Link:
            return self._patched(before.link, members, rules, now, via)

        return await self._change(code, patched, versions=versions)

    async def move(self, code: str, event: LinkEvent, *, versions: Container[int] | None = None) -> Snapshot:
        """Let `event` happen to the link. Raises `NotAllowed` when its lifecycle forbids it."""

        def moved(before: Snapshot, now: int) -> Link:
            decision = decide(before.link, event, now=now, remaining=before.remaining)
            if not decision.accepted:
                raise NotAllowed(code, state=before.state(now), reason=decision.reason)
            return apply(before.link, decision, now=now)

        return await self._change(code, moved, versions=versions)

    async def page(self, listing: Listing) -> SnapshotPage:
        """Return one page. States that times decide are filtered while reading, so a page may be short."""
        after = self._position(listing)
        items: list[Snapshot] = []
        for _ in range(_FILTERED_PAGES):
            wanted = listing.limit - len(items)
            page = await self._links.page(
                base=_base_of(listing.state),
                tag=listing.tag,
                contains=listing.contains,
                after=after,
                limit=wanted if listing.state is None else max(wanted, _FILTERED_LINKS),
            )
            now = self._now()
            found = await snapshots(self._store, self._links, page.links)
            matching = [one for one in found if _matches(one, listing, now)]
            items += matching[:wanted]
            after = page.next
            if len(matching) >= wanted and items[-1] is not found[-1]:  # what lies behind it is for the next page
                after = (*_prefix_of(listing), items[-1].link.created_at, items[-1].link.code)
            if after is None or len(items) >= listing.limit:
                break
            await asyncio.sleep(0)
        return SnapshotPage(items, None if after is None else self._cursor(listing, after))

    async def _read(self, code: str) -> tuple[StoredLink, Snapshot]:
        # A path may hold anything, NUL included, which no store takes as a key.
        stored = None if check_code(code) else await self._links.get(code)
        if stored is None or stored.link.base is BaseState.DELETED:
            raise UnknownLink(code)
        (snapshot,) = await snapshots(self._store, self._links, [stored])
        return stored, snapshot

    async def _change(
        self, code: str, change: Callable[[Snapshot, int], Link], *, versions: Container[int] | None
    ) -> Snapshot:
        for _ in range(_TRIES):
            stored, before = await self._read(code)
            if versions is not None and stored.version not in versions:
                raise VersionMismatch(code, version=stored.version)
            link = change(before, self._now())
            if link is before.link:
                return before
            writes = self._links.replacement(stored, link, remaining=await self._left(before, link))
            try:
                await self._store.commit(writes)
            except CommitConflict as conflict:
                if conflict.reason not in {ConflictReason.VERSION, ConflictReason.MISSING}:
                    raise
                continue
            self._resolver.apply(code)
            changed = type(stored)(link, stored.version + 1)
            return (await snapshots(self._store, self._links, [changed]))[0]
        raise StoreUnavailable(f"the link {code!r} is being changed by many at once")

    async def _left(self, before: Snapshot, link: Link) -> int:
        """Return the visits left. A limit that was taken off has left its counter behind: a new one starts from it."""
        if before.remaining is not None or link.max_visits is None:
            return before.remaining or 0
        return (await self._links.remaining([link.code]))[link.code]

    def _patched(self, link: Link, members: Mapping[str, Any], rules: LinkRules, now: int, via: str) -> Link:
        problems: list[Problem] = []
        wanted = dict(members)
        if wanted.get("url", "") is None:
            problems.append(Problem("/url", "must be a URL; it cannot be removed"))
        elif "url" in wanted and wanted["url"] != link.url:
            wanted["url"] = rules.href(wanted["url"], problems, via=via)
        defaults = {"tags": (), "redirect_status": rules.redirect_status, "forward_query": False}
        for name, default in defaults.items():
            if name in wanted and wanted[name] is None:
                wanted[name] = default
        if "tags" in wanted:
            wanted["tags"] = clean_tags(wanted["tags"])
        if problems:
            wanted.pop("url")
        patched = replace(link, **wanted)
        problems += check_fields(
            starts_at=patched.starts_at,
            expires_at=patched.expires_at,
            max_visits=patched.max_visits,
            redirect_status=patched.redirect_status,
            tags=patched.tags,
            title=patched.title,
        )
        if problems:
            raise InvalidLink(problems)
        return link if patched == link else replace(patched, updated_at=now)

    def _cursor(self, listing: Listing, after: tuple[Scalar, ...]) -> str:
        text = msgspec.json.encode((listing.fingerprint(), *after[-2:]))
        return urlsafe_b64encode(text).decode().rstrip("=")

    def _position(self, listing: Listing) -> tuple[Scalar, ...] | None:
        if listing.cursor is None:
            return None
        try:
            text = urlsafe_b64decode(listing.cursor.encode("ascii") + b"==")
            fingerprint, created_at, code = msgspec.json.decode(text, type=tuple[str, int, str])
        except (ValueError, msgspec.MsgspecError) as error:
            raise InvalidCursor("it is not a cursor of this listing") from error
        if fingerprint != listing.fingerprint():
            raise InvalidCursor("it belongs to a listing with other filters")
        if not 0 <= created_at < _LATEST or check_code(code):
            raise InvalidCursor("it is not a cursor of this listing")
        return (*_prefix_of(listing), created_at, code)

    def _now(self) -> int:
        return int(self._clock.time() * 1_000_000)


def _prefix_of(listing: Listing) -> tuple[Scalar, ...]:
    """Return what all index entries of a listing begin with (`LinkRepository.page` chooses the same index).

    A cursor does not hold it: what a caller sends back must not choose where the store looks.
    """
    base = _base_of(listing.state)
    if listing.tag is not None and base is not BaseState.DELETED:
        return (listing.tag,)
    return () if base is None else (base.value,)


def _base_of(state: LinkState | None) -> BaseState | None:
    """Return the stored state that a wanted state is found under; None looks at all that are not deleted."""
    if state is None:
        return None
    return {LinkState.DISABLED: BaseState.DISABLED, LinkState.DELETED: BaseState.DELETED}.get(state, BaseState.ACTIVE)


def _matches(one: Snapshot, listing: Listing, now: int) -> bool:
    state_fits = listing.state is None or one.state(now) is listing.state
    return state_fits and (listing.tag is None or listing.tag in one.link.tags)
