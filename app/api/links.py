"""The handlers of `/v1/links`: HTTP in, service calls, HTTP out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET
from starlette.responses import Response

from app.api.models import Batch, BatchItem, BatchResult, LinkItems, LinkPatch, LinkView, NewLink, ProblemView
from app.api.payload import decode, read_json
from app.api.problems import problem_of, refuse
from app.api.times import to_microseconds
from app.domain import Delete, Disable, Enable, LinkState
from app.service import Answer, Draft, Listing, Receipt
from astra_core.errors import AstraError

if TYPE_CHECKING:
    from starlette.requests import Request

    from app.api.payload import BodyLimits
    from app.api.views import LinkViews, ShortUrls
    from app.domain import LinkEvent
    from app.service import LinkCreator, LinkManager, Outcome, Snapshot

__all__ = ["CALLER", "PATCH_MEDIA", "LinkApi", "PageLimits"]

CALLER = "anonymous"
"""Whose idempotency keys these are, until callers have names."""

PATCH_MEDIA = ("application/merge-patch+json", "application/json")
_KEY_LENGTH = 255
_TIMES = ("starts_at", "expires_at")


class PageLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Links on a page by default and at most, and in a batch at most."""

    page: int
    max_page: int
    max_batch: int


class LinkApi:
    """One method an operation; each answers or raises an error that `problem_of` knows."""

    def __init__(
        self,
        creator: LinkCreator,
        manager: LinkManager,
        views: LinkViews,
        short_urls: ShortUrls,
        *,
        bodies: BodyLimits,
        pages: PageLimits,
    ) -> None:
        self._creator = creator
        self._manager = manager
        self._views = views
        self._short_urls = short_urls
        self._bodies = bodies
        self._pages = pages
        self._new = msgspec.json.Decoder(NewLink)
        self._patch = msgspec.json.Decoder(LinkPatch)
        self._batch = msgspec.json.Decoder(Batch)
        self._encode = msgspec.json.Encoder().encode

    async def create(self, request: Request) -> Response:
        """`POST /v1/links`."""
        base = self._short_urls.base(request)
        body = await read_json(request, limit=self._bodies.body, timeout=self._bodies.timeout)
        draft = self._draft(decode(self._new, body), request)

        def render(outcomes: list[Outcome]) -> Answer:
            (outcome,) = outcomes
            if outcome.snapshot is None:
                raise outcome.error or AstraError("nothing became of the link")
            return self._created(outcome.snapshot, base, created=outcome.created)

        return _response(await self._creator.create([draft], render=render, receipt=_receipt(request, body)))

    async def create_batch(self, request: Request) -> Response:
        """`POST /v1/links/batch`."""
        base = self._short_urls.base(request)
        body = await read_json(request, limit=self._bodies.batch_body, timeout=self._bodies.timeout)
        batch = decode(self._batch, body)
        if len(batch.links) > self._pages.max_batch:
            raise refuse(422, f"A batch holds at most {self._pages.max_batch} links; send several.")
        drafts = [self._item(item, request) for item in batch.links]

        def render(outcomes: list[Outcome]) -> Answer:
            results = BatchResult(results=[self._result(outcome, base) for outcome in outcomes])
            return Answer(200, (), self._encode(results))

        return _response(await self._creator.create(drafts, render=render, receipt=_receipt(request, body)))

    async def read(self, request: Request) -> Response:
        """`GET /v1/links/{code}`."""
        snapshot = await self._manager.get(request.path_params["code"])
        return self._link(snapshot, request)

    async def patch(self, request: Request) -> Response:
        """`PATCH /v1/links/{code}`."""
        version = _if_match(request)
        body = await read_json(request, limit=self._bodies.body, timeout=self._bodies.timeout, media=PATCH_MEDIA)
        patch = decode(self._patch, body)
        members = {name: value for name in patch.__struct_fields__ if (value := getattr(patch, name)) is not UNSET}
        for name in _TIMES:
            if name in members:
                members[name] = to_microseconds(members[name])
        snapshot = await self._manager.patch(
            request.path_params["code"], members, version=version, via=self._short_urls.host(request)
        )
        return self._link(snapshot, request)

    async def disable(self, request: Request) -> Response:
        """`POST /v1/links/{code}/disable`."""
        return await self._move(request, Disable())

    async def enable(self, request: Request) -> Response:
        """`POST /v1/links/{code}/enable`."""
        return await self._move(request, Enable())

    async def delete(self, request: Request) -> Response:
        """`DELETE /v1/links/{code}`."""
        await self._manager.move(request.path_params["code"], Delete(), version=_if_match(request))
        return Response(status_code=204)

    async def index(self, request: Request) -> Response:
        """`GET /v1/links`."""
        base = self._short_urls.base(request)
        page = await self._manager.page(self._listing(request))
        items = [self._views.view(item, base=base) for item in page.items]
        return self._json(LinkItems(items=items, next_cursor=page.next_cursor))

    async def _move(self, request: Request, event: LinkEvent) -> Response:
        snapshot = await self._manager.move(request.path_params["code"], event, version=_if_match(request))
        return self._link(snapshot, request)

    def _draft(self, new: NewLink, request: Request) -> Draft:
        return Draft(
            url=new.url,
            code=new.code,
            starts_at=to_microseconds(new.starts_at),
            expires_at=to_microseconds(new.expires_at),
            max_visits=new.max_visits,
            redirect_status=new.redirect_status,
            forward_query=new.forward_query,
            tags=new.tags,
            title=new.title,
            private=new.private,
            reuse=new.reuse,
            via=self._short_urls.host(request),
        )

    def _item(self, item: Any, request: Request) -> Draft | AstraError:
        """Each item of a batch is read like a body of its own, so that one bad item refuses itself alone."""
        try:
            return self._draft(decode(self._new, self._encode(item)), request)
        except AstraError as error:
            return error

    def _listing(self, request: Request) -> Listing:
        query = request.query_params
        limit = query.get("limit", str(self._pages.page))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10 and 1 <= int(limit) <= self._pages.max_page):
            raise refuse(422, f"limit: must be a whole number from 1 to {self._pages.max_page}.")
        state = query.get("state")
        if state is not None and state not in {one.value for one in LinkState}:
            raise refuse(422, f"state: must be one of {', '.join(LinkState)}.")
        for name in ("tag", "q"):
            if not query.get(name, "-").isprintable() or not query.get(name, "-") or len(query.get(name, "-")) > 256:
                raise refuse(422, f"{name}: must be 1 to 256 printable characters; leave it out to filter by nothing.")
        return Listing(
            limit=int(limit),
            cursor=query.get("cursor"),
            tag=query.get("tag"),
            state=None if state is None else LinkState(state),
            contains=query.get("q", ""),
        )

    def _created(self, snapshot: Snapshot, base: str, *, created: bool) -> Answer:
        headers = (
            (b"location", f"/v1/links/{snapshot.link.code}".encode()),
            (b"etag", _etag(snapshot.version).encode()),
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
        return BatchItem(status=problem.status, problem=msgspec.convert(problem.members(), ProblemView))

    def _link(self, snapshot: Snapshot, request: Request) -> Response:
        etag = _etag(snapshot.version)
        view = self._views.view(snapshot, base=self._short_urls.base(request))
        return self._json(view, etag=etag)

    def _json(self, value: LinkView | LinkItems, **headers: str) -> Response:
        headers["cache-control"] = "no-store"
        return Response(self._encode(value), media_type="application/json", headers=headers)


def _response(answer: Answer) -> Response:
    response = Response(answer.body, status_code=answer.status, media_type="application/json")
    response.raw_headers += [*answer.headers, (b"cache-control", b"no-store")]
    return response


def _etag(version: int) -> str:
    return f'"{version}"'


def _if_match(request: Request) -> int | None:
    """Return the version that If-Match names; None when it names none or any."""
    value = request.headers.get("if-match", "*").strip()
    if value == "*":
        return None
    number = value.strip('"')
    if value == f'"{number}"' and number.isascii() and number.isdigit() and len(number) < 19:
        return int(number)
    return -1  # a well-formed tag of something else: it matches no version


def _receipt(request: Request, body: bytes) -> Receipt | None:
    """Return the use of an Idempotency-Key. The payload is the call and its body, byte for byte."""
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    key = keys[0]
    if len(keys) > 1 or not 0 < len(key) <= _KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise refuse(400, f"Idempotency-Key: send one, of 1 to {_KEY_LENGTH} printable ASCII characters.")
    return Receipt.of(caller=CALLER, key=key, payload=request.url.path.encode() + b"\0" + body)
