"""Reading, changing and listing links."""

from __future__ import annotations

import asyncio
import hashlib
import random as random_module
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import msgspec

from app.clicks import VISITS
from app.domain import ANONYMOUS, BaseState, Delete, LinkState, Restore, Standing, check_code
from app.service.edits import edit_of, patched
from app.service.errors import InvalidCursor, NotAllowed, UnknownLink, VersionMismatch
from app.service.snapshot import Snapshot, snapshots
from astra_core.errors import CommitConflict, ConflictReason
from astra_core.resilience import FullJitter, remaining
from astra_core.workflow import UnknownInstance

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from app.domain import LinkEvent
    from app.links import LinkRepository, LinkRunner, Resolver, StoredLink
    from app.service.drafts import LinkRules
    from astra_core.clock import Clock
    from astra_core.storage.store import Store
    from astra_core.storage.writes import Scalar
    from astra_core.workflow import Result

__all__ = ["LinkManager", "Listing", "SnapshotPage"]

_BACKOFF = FullJitter(base=0.001, cap=0.05)
"""How long a change that another process came before waits until it is decided anew."""
_LAST_TRY = 0.1
"""Seconds that a request must have left for another try."""
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
    """The management side of links; every change is one event of its lifecycle, in one commit with its history.

    `by` is who makes a change, `why` the reason given. Changes of one link are made one after the other here, and
    decided anew when another process was quicker, until the deadline in force: then `CommitConflict` says so. Nothing
    is read once a change is committed: a read that failed then would deny what was done.
    """

    def __init__(
        self,
        store: Store,
        links: LinkRepository,
        runner: LinkRunner,
        resolver: Resolver,
        *,
        clock: Clock,
        random: random_module.Random | None = None,
    ) -> None:
        self._store = store
        self._links = links
        self._runner = runner
        self._resolver = resolver
        self._clock = clock
        self._random = random or random_module.Random()  # noqa: S311 - jitter
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def get(self, code: str) -> Snapshot:
        """Return a link. Raises `UnknownLink`, also for a deleted one."""
        stored = await self._read(code)
        return (await snapshots(self._store, self._links, [stored]))[0]

    async def patch(
        self,
        code: str,
        members: Mapping[str, Any],
        *,
        rules: LinkRules,
        versions: Container[int] | None,
        via: str = "",
        by: str = ANONYMOUS,
        why: str = "",
    ) -> Snapshot:
        """Apply a merge patch: members of `Link` by name, None for the default. Raises `InvalidLink` and the rest.

        The link must stand at one of `versions`, where these are given.
        """
        async with self._turn(code):
            tries = 0
            while True:
                stored = await self._read(code)
                _check_version(stored, versions)
                now = self._now()
                link = patched(stored.link, members, rules, via=via)
                if link == stored.link:
                    return (await snapshots(self._store, self._links, [stored]))[0]
                balance, visits = (await self._links.remaining([code]))[code], await self._visits(code)
                edit = edit_of(Standing(stored.link, stored.edition, balance, now), link)
                if (result := await self._send(code, edit, by=by, why=why, at=stored.version)) is not None:
                    return _changed(result, visits)
                tries += 1
                await self._give_way(code, tries)

    async def move(
        self,
        code: str,
        event: LinkEvent,
        *,
        versions: Container[int] | None = None,
        by: str = ANONYMOUS,
        why: str = "",
    ) -> Snapshot:
        """Let `event` happen to the link. Raises `NotAllowed` when its lifecycle forbids it.

        A deleted link is unknown to all that is not its restoration.
        """
        visits = await self._visits(code)
        return _changed(await self._moved(code, event, versions=versions, by=by, why=why), visits)

    async def delete(
        self, code: str, *, versions: Container[int] | None = None, by: str = ANONYMOUS, why: str = ""
    ) -> None:
        """Let the link be deleted, as `move` does."""
        await self._moved(code, Delete(), versions=versions, by=by, why=why)

    async def _moved(
        self, code: str, event: LinkEvent, *, versions: Container[int] | None, by: str, why: str
    ) -> Result[LinkState, LinkEvent, Standing]:
        async with self._turn(code):
            tries = 0
            while True:
                version = None
                if versions is not None or tries:  # at a version the runner does not try again, past the deadline
                    stored = await self._read(code, deleted=isinstance(event, Restore))
                    _check_version(stored, versions)
                    version = stored.version
                if (result := await self._send(code, event, by=by, why=why, at=version)) is not None:
                    return result
                tries += 1
                await self._give_way(code, tries)

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

    def _turn(self, code: str) -> asyncio.Lock:
        """Return what a change of the link holds; it is kept for as long as anybody does, or waits."""
        return self._turns.setdefault(code, asyncio.Lock())

    async def _give_way(self, code: str, tries: int) -> None:
        """Wait before the next try; the first one comes at once, as who was quicker is done by now."""
        pause = _BACKOFF.delay(tries - 1, 0.0, self._random) if tries > 1 else 0.0
        if remaining() < pause + _LAST_TRY:
            raise CommitConflict(ConflictReason.VERSION, write=0, key=code)
        await self._clock.sleep(pause)

    async def _read(self, code: str, *, deleted: bool = False) -> StoredLink:
        # A path may hold anything, NUL included, which no store takes as a key.
        stored = None if check_code(code) else await self._links.get(code)
        if stored is None or (stored.link.base is BaseState.DELETED and not deleted):
            raise UnknownLink(code, deleted=stored is not None)
        return stored

    async def _send(
        self, code: str, event: LinkEvent, *, by: str, why: str, at: int | None
    ) -> Result[LinkState, LinkEvent, Standing] | None:
        """Return what came of it; None when the link no longer stands `at` that version of its record."""
        if check_code(code):
            raise UnknownLink(code)
        try:
            result = await self._runner.send(code, event, by=by, why=why, at=at)
        except UnknownInstance:
            raise UnknownLink(code) from None
        except CommitConflict as conflict:
            if conflict.reason not in {ConflictReason.VERSION, ConflictReason.MISSING}:
                raise
            return None
        decision = result.decision
        if decision is not None and not decision.accepted:
            if decision.source is LinkState.DELETED:
                raise UnknownLink(code, deleted=True)
            raise NotAllowed(code, state=decision.source, reason=decision.reason)
        self._resolver.apply(code)
        return result

    async def _visits(self, code: str) -> int:
        if check_code(code):
            raise UnknownLink(code)
        return (await self._store.counts(VISITS, [code]))[code]

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


def _changed(result: Result[LinkState, LinkEvent, Standing], visits: int) -> Snapshot:
    now = result.instance.data
    return Snapshot(link=now.link, version=now.edition, visits=visits, remaining=now.remaining)


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
    few = {LinkState.DISABLED: BaseState.DISABLED, LinkState.DELETED: BaseState.DELETED}
    return None if state is None else few.get(state)


def _matches(one: Snapshot, listing: Listing, now: int) -> bool:
    state_fits = listing.state is None or one.state(now) is listing.state
    return state_fits and (listing.tag is None or listing.tag in one.link.tags)


def _check_version(stored: StoredLink, versions: Container[int] | None) -> None:
    if versions is not None and stored.edition not in versions:
        raise VersionMismatch(stored.link.code, version=stored.edition)
