"""The table of version 1: every management operation, once, for the router and for OpenAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.api.links import PATCH_MEDIA
from app.api.models import Batch, BatchResult, Health, LinkItems, LinkPatch, LinkView, NewLink, Readiness
from app.api.operation import Operation, Parameter
from app.domain import LinkState

if TYPE_CHECKING:
    from app.api.health import HealthApi
    from app.api.links import LinkApi

__all__ = ["operations"]

_CODE = Parameter(name="code", where="path", schema={"type": "string", "maxLength": 64}, description="The link's code.")
_KEY = Parameter(
    name="Idempotency-Key",
    where="header",
    schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    description="Names this request: repeating it within 24 h gives the first answer again.",
)
_IF_MATCH = Parameter(
    name="If-Match",
    where="header",
    schema={"type": "string"},
    description="An ETag; the change is refused with 412 when the link stands at another version.",
)
_LISTING = (
    Parameter(
        name="limit",
        where="query",
        schema={"type": "integer", "minimum": 1, "maximum": 200},
        description="Links a page.",
    ),
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
_ANY = (400, 503)
_WRITE = (400, 408, 409, 413, 415, 422, 503)


def operations(links: LinkApi, health: HealthApi) -> tuple[Operation, ...]:
    """Return the table, bound to the handlers."""
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
            parameters=_LISTING,
            problems=(*_ANY, 422),
        ),
        Operation(
            method="POST",
            path="/v1/links/batch",
            handler=links.create_batch,
            name="createLinks",
            summary="Make up to 1,000 links in one call.",
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
            parameters=(_CODE, _IF_MATCH),
            problems=(*_WRITE, 404, 412),
        ),
        Operation(
            method="DELETE",
            path="/v1/links/{code}",
            handler=links.delete,
            name="deleteLink",
            summary="Delete a link for good; its code is never given out again.",
            answers={204: None},
            parameters=(_CODE, _IF_MATCH),
            problems=(*_ANY, 404, 412),
        ),
        Operation(
            method="POST",
            path="/v1/links/{code}/disable",
            handler=links.disable,
            name="disableLink",
            summary="Answer 410 on the redirect until the link is enabled again.",
            answers={200: LinkView},
            headers={200: _ETAG},
            parameters=(_CODE, _IF_MATCH),
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
            parameters=(_CODE, _IF_MATCH),
            problems=(*_ANY, 404, 409, 412),
        ),
        Operation(
            method="GET",
            path="/healthz",
            handler=health.healthy,
            name="health",
            summary="Whether the process answers.",
            answers={200: Health},
        ),
        Operation(
            method="GET",
            path="/readyz",
            handler=health.ready,
            name="readiness",
            summary="Whether traffic should come here, and the state of each dependency.",
            answers={200: Readiness, 503: Readiness},
        ),
    )
