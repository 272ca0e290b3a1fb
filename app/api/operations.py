"""The table of version 1: every management operation, once, for the router and for OpenAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.api.conditions import REASON_LENGTH
from app.api.import_operations import import_operations
from app.api.links import PATCH_MEDIA
from app.api.models import (
    CODE_PATTERN,
    Batch,
    BatchResult,
    Health,
    HistoryItems,
    LinkItems,
    LinkPatch,
    LinkView,
    NewLink,
    Readiness,
)
from app.api.operation import Operation, Parameter
from app.domain import LinkState
from app.domain.rules import REDIRECT_STATUSES

if TYPE_CHECKING:
    from app.api.figures import MetricsApi
    from app.api.health import HealthApi
    from app.api.history import HistoryApi
    from app.api.imports import ImportApi
    from app.api.links import LinkApi

__all__ = ["operations"]

_CODE = Parameter(
    name="code", where="path", schema={"type": "string", "pattern": CODE_PATTERN}, description="The link's code."
)
_KEY = Parameter(
    name="Idempotency-Key",
    where="header",
    schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    description="Names this request. Repeating it within `links.idempotency_ttl` (24 h unless set otherwise) "
    "gives the first answer again, byte for byte, whatever became of the link meanwhile and whichever host the "
    "repetition comes to.",
)
_IF_MATCH = Parameter(
    name="If-Match",
    where="header",
    schema={"type": "string"},
    description="ETags, or `*`; the change is refused with 412 when the link stands at another version.",
)
_REASON = Parameter(
    name="X-Reason",
    where="header",
    schema={"type": "string", "minLength": 1, "maxLength": REASON_LENGTH},
    description="Why: it stands in the link's history. UTF-8.",
)
_CHANGE = (_CODE, _IF_MATCH, _REASON)
_AFTER = Parameter(
    name="after",
    where="query",
    schema={"type": "integer", "minimum": 0, "maximum": 2**53, "default": 0},
    description="`next_after` of the page before.",
)
_FILTERS = (
    Parameter(name="cursor", where="query", schema={"type": "string"}, description="`next_cursor` of the page before."),
    Parameter(
        name="tag",
        where="query",
        schema={"type": "string", "minLength": 1, "maxLength": 256},
        description="Only links with this tag.",
    ),
    Parameter(
        name="state",
        where="query",
        schema={"type": "string", "enum": [state.value for state in LinkState]},
        description="Only links in this state; without it all but the deleted ones.",
    ),
    Parameter(
        name="q",
        where="query",
        schema={"type": "string", "minLength": 1, "maxLength": 256},
        description="Only links whose code, URL or title holds this text, in whatever case.",
    ),
)
_ETAG = {"ETag": "The link's version."}
_CREATED = {"Location": "Where to manage the link.", **_ETAG}
_TARGET = {"Location": "The link's URL.", "Cache-Control": "Whether and how long to keep the answer."}
_ANY = (400, 503)
_WRITE = (400, 408, 409, 413, 415, 422, 503)


_REDIRECT = Operation(
    method="GET",
    path="/{code}",
    handler=None,
    name="followLink",
    summary="Follow a short link. HEAD answers the same and counts no visit.",
    answers=dict.fromkeys(REDIRECT_STATUSES),
    headers=dict.fromkeys(REDIRECT_STATUSES, _TARGET),
    parameters=(_CODE,),
    any_query=True,
    pages=(404, 410),
    problems=(403, 404, 410, 503),
)


def operations(
    links: LinkApi,
    history: HistoryApi,
    health: HealthApi,
    metrics: MetricsApi,
    imports: ImportApi | None = None,
) -> tuple[Operation, ...]:
    """Return the table, bound to the handlers."""
    limit = Parameter(
        name="limit",
        where="query",
        schema={"type": "integer", "minimum": 1, "maximum": links.pages.max_page, "default": links.pages.page},
        description="Items a page.",
    )
    return (
        Operation(
            method="POST",
            path="/v1/links",
            handler=links.create,
            name="createLink",
            summary="Make a link.",
            body=NewLink,
            answers={201: LinkView, 200: LinkView},
            headers={201: _CREATED, 200: _ETAG},
            parameters=(_KEY,),
            problems=_WRITE,
        ),
        Operation(
            method="GET",
            path="/v1/links",
            handler=links.index,
            name="listLinks",
            summary="List links, newest first.",
            answers={200: LinkItems},
            parameters=(limit, *_FILTERS),
            problems=(*_ANY, 422),
        ),
        Operation(
            method="POST",
            path="/v1/links/batch",
            handler=links.create_batch,
            name="createLinks",
            summary=f"Make up to {links.pages.max_batch:,} links in one call.",
            body=Batch,
            answers={200: BatchResult},
            parameters=(_KEY,),
            problems=_WRITE,
        ),
        Operation(
            method="GET",
            path="/v1/links/{code}",
            handler=links.read,
            name="readLink",
            summary="Read a link.",
            answers={200: LinkView},
            headers={200: _ETAG},
            parameters=(_CODE,),
            problems=(*_ANY, 404),
        ),
        Operation(
            method="PATCH",
            path="/v1/links/{code}",
            handler=links.patch,
            name="changeLink",
            summary="Change a link by a JSON merge patch.",
            body=LinkPatch,
            media=PATCH_MEDIA,
            answers={200: LinkView},
            headers={200: _ETAG},
            parameters=_CHANGE,
            problems=(*_WRITE, 404, 412),
        ),
        Operation(
            method="DELETE",
            path="/v1/links/{code}",
            handler=links.delete,
            name="deleteLink",
            summary="Delete a link; its code is never given out again.",
            answers={204: None},
            parameters=_CHANGE,
            problems=(*_ANY, 404, 409, 412),
        ),
        Operation(
            method="POST",
            path="/v1/links/{code}/restore",
            handler=links.restore,
            name="restoreLink",
            summary="Take back the deletion of a link; its times and limit decide what it is then.",
            answers={200: LinkView},
            headers={200: _ETAG},
            parameters=_CHANGE,
            problems=(*_ANY, 404, 409, 412),
        ),
        Operation(
            method="GET",
            path="/v1/links/{code}/history",
            handler=history.index,
            name="readHistory",
            summary="What happened to a link, deleted ones included, oldest first: who, when, what and why.",
            answers={200: HistoryItems},
            parameters=(_CODE, _AFTER, limit),
            problems=(*_ANY, 404, 422),
        ),
        Operation(
            method="POST",
            path="/v1/links/{code}/disable",
            handler=links.disable,
            name="disableLink",
            summary="Answer 410 on the redirect until the link is enabled again.",
            answers={200: LinkView},
            headers={200: _ETAG},
            parameters=_CHANGE,
            problems=(*_ANY, 404, 409, 412),
        ),
        Operation(
            method="POST",
            path="/v1/links/{code}/enable",
            handler=links.enable,
            name="enableLink",
            summary="Let a disabled link redirect again.",
            answers={200: LinkView},
            headers={200: _ETAG},
            parameters=_CHANGE,
            problems=(*_ANY, 404, 409, 412),
        ),
        *(() if imports is None else import_operations(imports)),
        Operation(
            method="GET",
            path="/healthz",
            handler=health.healthy,
            name="health",
            summary="Whether the process answers.",
            answers={200: Health},
            any_query=True,
        ),
        Operation(
            method="GET",
            path="/readyz",
            handler=health.ready,
            name="readiness",
            summary="Whether traffic should come here, and the state of each dependency.",
            answers={200: Readiness, 503: Readiness},
            any_query=True,
            admin=True,
        ),
        Operation(
            method="GET",
            path="/metrics",
            handler=metrics.scrape,
            name="metrics",
            summary="The figures of the whole service, in Prometheus' text format, or OpenMetrics when asked.",
            answers={200: str},
            produces=("text/plain", "application/openmetrics-text"),
            any_query=True,
            admin=True,
            problems=(401,),
        ),
        _REDIRECT,
    )
