"""The handlers of `/v1/links`: HTTP in, service calls, HTTP out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from app.api.answers import json_answer
from app.api.batch import is_quick, read_batch
from app.api.conditions import CALLER, etag_of, if_match, reason_of, receipt_of
from app.api.in_force import in_force
from app.api.models import BatchItem, ItemProblem, LinkItems, LinkPatch, NewLink
from app.api.payload import decode, read_json
from app.api.problems import problem_of, refuse
from app.api.times import to_microseconds
from app.domain import Disable, Enable, LinkState, Restore
from app.service import Answer, Draft, Listing
from astra_core.asgi import Response
from astra_core.errors import AstraError

if TYPE_CHECKING:
    from starlette.requests import Request

    from app.api.views import LinkViews, ShortUrls
    from app.domain import LinkEvent
    from app.service import LinkCreator, LinkManager, Outcome, Snapshot
    from astra_core.resilience import Deadlines

__all__ = ["PATCH_MEDIA", "LinkApi", "PageLimits", "draft_of"]

PATCH_MEDIA = ("application/merge-patch+json", "application/json")
_TIMES = ("starts_at", "expires_at")
_SLICE = 20
"""Links of a batch read or rendered before the loop is let go: under a millisecond."""
_FILTER_LENGTH = 256


class PageLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Links on a page by default and at most, and in a batch at most."""

    page: int
    max_page: int
    max_batch: int


class LinkApi:
    """One method an operation; each answers or raises an error that `problem_of` knows.

    `arrival` are the deadlines by which a body must have arrived whole. What else an operator may change while requests
    run, a request takes from its scope, as it was when the request came: see `in_force`.
    """

    def __init__(
        self,
        creator: LinkCreator,
        manager: LinkManager,
        views: LinkViews,
        short_urls: ShortUrls,
        *,
        arrival: Deadlines,
        pages: PageLimits,
    ) -> None:
        self._creator = creator
        self._manager = manager
        self._views = views
        self._short_urls = short_urls
        self._arrival = arrival
        self.pages = pages
        self._new = msgspec.json.Decoder(NewLink)
        self._patch = msgspec.json.Decoder(LinkPatch)
        self._encode = msgspec.json.Encoder().encode

    async def create(self, request: Request) -> Response:
        """`POST /v1/links`."""
        host, now = self._short_urls.host(request), in_force(request)
        base = self._short_urls.base(request, host)
        body = await read_json(request, limit=now.bodies.body, arrival=self._arrival)
        draft = draft_of(decode(self._new, body), host)

        async def render(outcomes: list[Outcome]) -> Answer:
            (outcome,) = outcomes
            if outcome.snapshot is None:
                raise outcome.error or AstraError("nothing became of the link")
            return self._created(outcome.snapshot, base, created=outcome.created)

        receipt = await receipt_of(request, body)
        answer = await self._creator.create([draft], rules=now.rules, render=render, receipt=receipt)
        return json_answer(answer.status, answer.body, *answer.headers)

    async def create_batch(self, request: Request) -> Response:
        """`POST /v1/links/batch`."""
        base, now = self._short_urls.base(request), in_force(request)
        body = await read_json(request, limit=now.bodies.batch_body, arrival=self._arrival)
        links = await read_batch(body, most=self.pages.max_batch, max_url=now.rules.max_url)
        host = self._short_urls.host(request)
        drafts: list[Draft | AstraError] = []
        at_once = _SLICE if is_quick(body) else 1
        for place, item in enumerate(links):
            if place and not place % at_once:
                await asyncio.sleep(0)
            drafts.append(self._item(item, host))

        async def render(outcomes: list[Outcome]) -> Answer:
            results: list[msgspec.Raw] = []
            for place, outcome in enumerate(outcomes):
                if place and not place % _SLICE:
                    await asyncio.sleep(0)
                results.append(msgspec.Raw(self._encode(self._result(outcome, base))))
            return Answer(200, (), self._encode({"results": results}))

        receipt = await receipt_of(request, body)
        answer = await self._creator.create(drafts, rules=now.rules, render=render, receipt=receipt)
        return json_answer(answer.status, answer.body, *answer.headers)

    async def read(self, request: Request) -> Response:
        """`GET /v1/links/{code}`."""
        base = self._short_urls.base(request)
        return self._link(await self._manager.get(request.path_params["code"]), base)

    async def patch(self, request: Request) -> Response:
        """`PATCH /v1/links/{code}`."""
        versions, why = if_match(request), reason_of(request)
        base, now = self._short_urls.base(request), in_force(request)
        body = await read_json(request, limit=now.bodies.body, arrival=self._arrival, media=PATCH_MEDIA)
        patch = decode(self._patch, body)
        members = {name: value for name in patch.__struct_fields__ if (value := getattr(patch, name)) is not UNSET}
        for name in _TIMES:
            if name in members:
                members[name] = to_microseconds(members[name])
        snapshot = await self._manager.patch(
            request.path_params["code"],
            members,
            rules=now.rules,
            versions=versions,
            via=self._short_urls.host(request),
            by=CALLER,
            why=why,
        )
        return self._link(snapshot, base)

    async def disable(self, request: Request) -> Response:
        """`POST /v1/links/{code}/disable`."""
        return await self._move(request, Disable())

    async def enable(self, request: Request) -> Response:
        """`POST /v1/links/{code}/enable`."""
        return await self._move(request, Enable())

    async def delete(self, request: Request) -> Response:
        """`DELETE /v1/links/{code}`."""
        versions, why = if_match(request), reason_of(request)
        await self._manager.delete(request.path_params["code"], versions=versions, by=CALLER, why=why)
        return Response(204)

    async def restore(self, request: Request) -> Response:
        """`POST /v1/links/{code}/restore`."""
        return await self._move(request, Restore())

    async def index(self, request: Request) -> Response:
        """`GET /v1/links`."""
        base = self._short_urls.base(request)
        page = await self._manager.page(self._listing(request))
        items = [self._views.view(item, base=base) for item in page.items]
        return json_answer(200, self._encode(LinkItems(items=items, next_cursor=page.next_cursor)))

    async def _move(self, request: Request, event: LinkEvent) -> Response:
        base = self._short_urls.base(request)  # first: a foreign Host is refused before anything is changed
        code, versions, why = request.path_params["code"], if_match(request), reason_of(request)
        return self._link(await self._manager.move(code, event, versions=versions, by=CALLER, why=why), base)

    def _item(self, item: msgspec.Raw, host: str) -> Draft | AstraError:
        """Each item of a batch is read like a body of its own, so that one bad item refuses itself alone."""
        try:
            return draft_of(decode(self._new, item), host)
        except AstraError as error:
            return error

    def _listing(self, request: Request) -> Listing:
        query = request.query_params
        limit = query.get("limit", str(self.pages.page))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10 and 1 <= int(limit) <= self.pages.max_page):
            raise refuse(422, f"limit: must be a whole number from 1 to {self.pages.max_page}.")
        state = query.get("state")
        if state is not None and state not in {one.value for one in LinkState}:
            raise refuse(422, f"state: must be one of {', '.join(LinkState)}.")
        tag = None if (given := query.get("tag")) is None else given.strip()  # as it is when a link is made
        for name, text in (("tag", "-" if tag is None else tag), ("q", query.get("q", "-"))):
            if not 0 < len(text) <= _FILTER_LENGTH or "\0" in text:
                wanted = f"1 to {_FILTER_LENGTH} characters, none of them NUL"
                raise refuse(422, f"{name}: must be {wanted}; leave it out to filter by nothing.")
        return Listing(
            limit=int(limit),
            cursor=query.get("cursor"),
            tag=tag,
            state=None if state is None else LinkState(state),
            contains=query.get("q", ""),
        )

    def _created(self, snapshot: Snapshot, base: str, *, created: bool) -> Answer:
        headers = (
            (b"location", f"/v1/links/{snapshot.link.code}".encode()),
            (b"etag", etag_of(snapshot.version)),
        )
        body = self._encode(self._views.view(snapshot, base=base))
        return Answer(201 if created else 200, headers if created else headers[1:], body)

    def _result(self, outcome: Outcome, base: str) -> BatchItem:
        if outcome.snapshot is not None:
            view = self._views.view(outcome.snapshot, base=base)
            return BatchItem(status=201 if outcome.created else 200, link=view)
        problem = problem_of(outcome.error or AstraError())
        if problem is None:
            raise outcome.error or AstraError("nothing became of the link")
        return BatchItem(status=problem.status, problem=msgspec.convert(problem.members(), ItemProblem))

    def _link(self, snapshot: Snapshot, base: str) -> Response:
        body = self._encode(self._views.view(snapshot, base=base))
        return json_answer(200, body, (b"etag", etag_of(snapshot.version)))


def draft_of(new: NewLink, host: str) -> Draft:
    """Return the draft of a link as a request to `host` asks for it."""
    return Draft(
        url=new.url,
        code=new.code,
        starts_at=to_microseconds(new.starts_at),
        expires_at=to_microseconds(new.expires_at),
        max_visits=new.max_visits,
        redirect_status=new.redirect_status,
        forward_query=bool(new.forward_query),
        tags=new.tags or (),
        title=new.title,
        private=bool(new.private),
        reuse=bool(new.reuse),
        via=host,
    )
