"""`GET /v1/links/{code}/history`: what happened to a link."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.api.answers import json_answer
from app.api.models import HistoryEntry, HistoryItems
from app.api.problems import refuse
from app.api.times import from_microseconds

if TYPE_CHECKING:
    from starlette.requests import Request

    from app.api.links import PageLimits
    from app.service import Happening, LinkHistory
    from astra_core.asgi import Response

__all__ = ["HistoryApi"]

_MOST = 2**53
"""The greatest whole number that every JSON reader keeps exact."""


class HistoryApi:
    """Reads histories; those of deleted links too."""

    def __init__(self, history: LinkHistory, *, pages: PageLimits) -> None:
        self._history = history
        self.pages = pages

    async def index(self, request: Request) -> Response:
        """`GET /v1/links/{code}/history`."""
        after = _number(request, "after", default=0, least=0, most=_MOST)
        limit = _number(request, "limit", default=self.pages.page, least=1, most=self.pages.max_page)
        page = await self._history.page(request.path_params["code"], after=after, limit=limit)
        items = HistoryItems(items=[_view(item) for item in page.items], next_after=page.next)
        return json_answer(200, msgspec.json.encode(items))


def _number(request: Request, name: str, *, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 17 and least <= int(text) <= most):
        raise refuse(422, f"{name}: must be a whole number from {least} to {most}.")
    return int(text)


def _view(item: Happening) -> HistoryEntry:
    return HistoryEntry(
        number=item.number,
        event=item.event,
        at=from_microseconds(item.at),
        by=item.by,
        reason=item.why or None,
        before=item.before,
        state=item.after,
        members=item.members,
    )
