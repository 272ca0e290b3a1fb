"""What happened to a link, from its beginning: who changed what, when, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from app.domain import LinkState, check_code
from app.service.errors import UnknownLink

if TYPE_CHECKING:
    from app.links import LinkRepository, LinkRunner
    from astra_core.workflow import Entry

__all__ = ["HAPPENINGS", "Happening", "HistoryPage", "LinkHistory"]

_WORDS = {
    "begin": "made",
    "Edit": "edited",
    "Disable": "disabled",
    "Enable": "enabled",
    "Delete": "deleted",
    "Restore": "restored",
    "Start": "started",
    "Expire": "expired",
    "Exhaust": "exhausted",
}
"""What callers are told for the names that histories hold."""
HAPPENINGS = tuple(_WORDS.values())


class _Edited(Struct, frozen=True):
    members: tuple[str, ...] = ()


_edited = msgspec.json.Decoder(_Edited).decode


class Happening(Struct, frozen=True, kw_only=True):
    """One entry of a history; they count from 1. `at` is in microseconds, `before` None of the first one."""

    number: int
    event: str
    at: int
    by: str
    why: str
    before: LinkState | None
    after: LinkState
    members: tuple[str, ...]


class HistoryPage(Struct, frozen=True):
    """Entries, oldest first, and the number that the next page follows; None on the last one."""

    items: tuple[Happening, ...]
    next: int | None


class LinkHistory:
    """Reads what the lifecycle's runner has written."""

    def __init__(self, links: LinkRepository, runner: LinkRunner) -> None:
        self._links = links
        self._runner = runner

    async def page(self, code: str, *, after: int, limit: int) -> HistoryPage:
        """Return the entries that follow number `after`. Raises `UnknownLink`; a deleted link has a history."""
        if check_code(code):
            raise UnknownLink(code)
        entries = await self._runner.history(code, after=after, limit=limit + 1)
        if not entries and await self._links.get(code) is None:
            raise UnknownLink(code)
        found = [_happening(after + place, entry) for place, entry in enumerate(entries, 1)]
        return HistoryPage(tuple(found[:limit]), after + limit if len(found) > limit else None)


def _happening(number: int, entry: Entry) -> Happening:
    return Happening(
        number=number,
        event=_WORDS[entry.event],
        at=entry.at,
        by=entry.by,
        why=entry.why,
        before=LinkState(entry.source) if entry.source else None,
        after=LinkState(entry.target),
        members=_edited(entry.data).members if entry.event == "Edit" else (),
    )
