"""The JSON of API version 1, typed: what is decoded, what is encoded, and what `/openapi.json` is made of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from app.domain import LinkState
from app.domain.rules import REDIRECT_STATUSES
from app.imports import Format, ImportState
from app.service import HAPPENINGS

__all__ = [
    "CODE_PATTERN",
    "Batch",
    "BatchItem",
    "BatchResult",
    "Health",
    "HistoryEntry",
    "HistoryItems",
    "ImportItems",
    "ImportView",
    "ItemProblem",
    "LinkItems",
    "LinkPatch",
    "LinkView",
    "NewLink",
    "ProblemView",
    "RawBatch",
    "Readiness",
]

CODE_PATTERN = "^[A-Za-z0-9_-]{3,64}$"
_STATUSES = {"enum": list(REDIRECT_STATUSES)}
_TAGS = {"items": {"type": "string", "minLength": 1, "maxLength": 64}, "uniqueItems": True}

Time = Annotated[datetime, Meta(tz=True, description="RFC 3339 time with an offset.")]
Moment = Annotated[datetime, Meta(extra_json_schema={"format": "date-time"}, description="RFC 3339, UTC.")]
Url = Annotated[
    str,
    Meta(
        description="An http or https URL; stored and answered as its WHATWG href.",
        examples=["https://example.com/sale?from=mail"],
        extra_json_schema={"minLength": 1},
    ),
]
Code = Annotated[
    str,
    Meta(
        description="Case-sensitive, not a reserved word.",
        examples=["spring-sale"],
        extra_json_schema={"pattern": CODE_PATTERN},
    ),
]
Visits = Annotated[int, Meta(ge=1, le=2**53, description="How many visits are answered before the link is exhausted.")]
Status = Annotated[int, Meta(description="301, 302, 307 or 308.", examples=[302], extra_json_schema=_STATUSES)]
Tags = Annotated[
    list[str],
    Meta(max_length=20, description="At most 20 labels of at most 64 characters.", extra_json_schema=_TAGS),
]
Title = Annotated[str, Meta(max_length=300)]


class NewLink(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A link to be made; null takes the default."""

    url: Url
    code: Code | None = None
    starts_at: Time | None = None
    expires_at: Time | None = None
    max_visits: Visits | None = None
    redirect_status: Status | None = None
    forward_query: Annotated[bool | None, Meta(description="Append the request's query to the URL.")] = False
    tags: Tags | None = []
    title: Title | None = None
    private: Annotated[bool | None, Meta(description="Give a code of 12 random characters, not to be guessed.")] = False
    reuse: Annotated[bool | None, Meta(description="Answer 200 with an equal link where there is one.")] = False


class LinkPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON merge patch (RFC 7396) of a link: a member left out stays, null takes the default."""

    url: Url | UnsetType = UNSET
    starts_at: Time | UnsetType | None = UNSET
    expires_at: Time | UnsetType | None = UNSET
    max_visits: Visits | UnsetType | None = UNSET
    redirect_status: Status | UnsetType | None = UNSET
    forward_query: bool | UnsetType | None = UNSET
    tags: Tags | UnsetType | None = UNSET
    title: Title | UnsetType | None = UNSET


class LinkView(Struct, frozen=True, kw_only=True):
    """A link as it is answered. `display_url` shows an international host readable; `url` is what redirects carry."""

    code: str
    short_url: str
    url: str
    display_url: str
    state: LinkState
    version: Annotated[int, Meta(ge=1)]
    created_at: Moment
    updated_at: Moment
    starts_at: Moment | None
    expires_at: Moment | None
    max_visits: Visits | None
    redirect_status: Status
    forward_query: bool
    tags: tuple[str, ...]
    title: str | None
    private: bool
    visits: Annotated[int, Meta(ge=0)]


class LinkItems(Struct, frozen=True, kw_only=True):
    """Links, newest first; `next_cursor` is null on the last page. A filtered page may be short and have a next."""

    items: list[LinkView]
    next_cursor: str | None


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """One thing that happened to a link."""

    number: Annotated[int, Meta(ge=1, description="Counts from 1 for each link, without gaps.")]
    event: Annotated[str, Meta(description="What happened.", extra_json_schema={"enum": list(HAPPENINGS)})]
    at: Moment
    by: Annotated[str, Meta(description="Who did it: a caller, or `timer` or `limit`.", examples=["anonymous"])]
    reason: Annotated[str | None, Meta(description="What the caller gave in X-Reason.")]
    before: Annotated[LinkState | None, Meta(description="The state that it found; null of the first entry.")]
    state: Annotated[LinkState, Meta(description="The state that it led to.")]
    members: Annotated[tuple[str, ...], Meta(description="What an edit changed; never the values.")]


class HistoryItems(Struct, frozen=True, kw_only=True):
    """What happened to a link, oldest first; `next_after` is null on the last page."""

    items: list[HistoryEntry]
    next_after: Annotated[int | None, Meta(description="Give it as `after` for the next page.")]


class Batch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Links to be made in one call; each succeeds or fails alone."""

    links: Annotated[list[NewLink], Meta(min_length=1, description="New links.")]


class RawBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Batch` as it is decoded: the links are read one by one, so that a bad one spoils no other."""

    links: Annotated[list[Raw], Meta(min_length=1)]


class FieldErrorView(Struct, frozen=True, kw_only=True):
    """One invalid member of the payload."""

    pointer: Annotated[str, Meta(description="A JSON Pointer (RFC 6901).", examples=["/url"])]
    detail: str


class ItemProblem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem (RFC 9457) with one link of a batch; its pointers begin at that link."""

    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    errors: list[FieldErrorView] = []


class ProblemView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem (RFC 9457)."""

    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    instance: Annotated[str, Meta(description="The path of the request.")]
    request_id: Annotated[str, Meta(description="Finds this answer in the log.")]
    errors: list[FieldErrorView] = []


class BatchItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one link of a batch: `link` when it was made or found, else `problem`."""

    status: Annotated[int, Meta(ge=200, le=599)]
    link: LinkView | UnsetType = UNSET
    problem: ItemProblem | UnsetType = UNSET


class BatchResult(Struct, frozen=True, kw_only=True):
    """One result a link, in the order of the request."""

    results: list[BatchItem]


Count = Annotated[int, Meta(ge=0)]


class ImportView(Struct, frozen=True, kw_only=True):
    """An import, and how far it has come."""

    id: str
    state: ImportState
    name: Annotated[str, Meta(description="What the sender called the file.")]
    format: Format
    report_format: Format
    size: Annotated[int, Meta(ge=0, description="Bytes of the file.")]
    bytes_read: Annotated[int, Meta(ge=0, description="Bytes of the rows that were looked at.")]
    rows: Annotated[int, Meta(ge=0)] | None
    """Rows of the file, once all of it was looked at."""
    done: Annotated[int, Meta(ge=0, description="Rows that were looked at: created, reused or failed.")]
    created: Count
    reused: Count
    failed: Count
    rate: Annotated[float, Meta(ge=0, description="Rows a second of late, by the wall clock.")] | None
    reason: Annotated[str, Meta(description="Why it failed as a whole.")] | None
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    report: Annotated[str, Meta(description="Where the report of its rows is.")]


class ImportItems(Struct, frozen=True, kw_only=True):
    """Imports, newest first; `next_cursor` is null on the last page."""

    items: list[ImportView]
    next_cursor: str | None


class Health(Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether traffic should come here, and the state of each dependency."""

    status: Literal["ready", "degraded", "draining"]
    dependencies: dict[str, dict[str, Any]]
