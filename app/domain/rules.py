"""The rules for every field of a link but its URL; each check returns all it finds, as JSON pointers with details."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "REDIRECT_STATUSES",
    "RESERVED",
    "Problem",
    "check_code",
    "check_fields",
    "check_times",
    "clean_tags",
    "is_reserved",
]

REDIRECT_STATUSES = (301, 302, 307, 308)
MAX_VISITS = 2**53
"""The greatest whole number that every JSON reader keeps exact."""
MAX_TAGS = 20
MAX_TAG_LENGTH = 64
MAX_TITLE_LENGTH = 300
LATEST = 253_402_300_800_000_000
"""The year 10000, in microseconds; RFC 3339 has four digits for a year."""

RESERVED = frozenset(
    {f"v{number}" for number in range(100)}
    | {"ui", "docs", "static", "admin", "api", "healthz", "readyz", "metrics"}
    | {"openapi.json", "favicon.ico", "robots.txt"}
)
"""First path segments that are the service's own for ever, in lower case."""

_CODE = re.compile(r"[A-Za-z0-9_-]{3,64}")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Problem(NamedTuple):
    """One broken rule: where in the request (RFC 6901) and what is wrong, as a sentence without its subject."""

    pointer: str
    detail: str


def is_reserved(code: str) -> bool:
    """Whether the service keeps this code for itself, in whatever case. Ask before `check_code`: `ui` is both."""
    return code.lower() in RESERVED


def check_code(code: str) -> list[Problem]:
    """Check the form of a custom code; codes are case-sensitive."""
    if _CODE.fullmatch(code):
        return []
    return [Problem("/code", "must be 3 to 64 characters, each a letter A-Z a-z, a digit, - or _")]


def clean_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return the tags without the spaces around them; check what this returns."""
    return tuple([tag.strip() for tag in tags]) if tags else ()


def check_fields(
    *,
    starts_at: int | None = None,
    expires_at: int | None = None,
    max_visits: int | None = None,
    redirect_status: int = 302,
    tags: Sequence[str] = (),
    title: str | None = None,
    now: int | None = None,
) -> list[Problem]:
    """Check the fields of a link that is created (`now` is given) or edited; tags as `clean_tags` returns them.

    A link may be edited while it is expired, so only a new one needs an expiry that lies ahead.
    """
    problems: list[Problem] = []
    if starts_at is not None or expires_at is not None:
        problems += check_times(starts_at=starts_at, expires_at=expires_at, now=now)
    if max_visits is not None and not 1 <= max_visits <= MAX_VISITS:
        problems.append(Problem("/max_visits", f"must be at least 1 and at most {MAX_VISITS}"))
    if redirect_status not in REDIRECT_STATUSES:
        problems.append(Problem("/redirect_status", "must be 301, 302, 307 or 308"))
    if tags:
        problems += _check_tags(tags)
    if title is not None:
        problems += _check_title(title)
    return problems


def check_times(*, starts_at: int | None, expires_at: int | None, now: int | None = None) -> list[Problem]:
    """Check start and expiry, microseconds since the epoch, against each other and, when it is given, against `now`."""
    problems = [
        Problem(pointer, "must lie between the years 1970 and 9999")
        for pointer, time in (("/starts_at", starts_at), ("/expires_at", expires_at))
        if time is not None and not 0 <= time < LATEST
    ]
    if expires_at is not None and starts_at is not None and expires_at <= starts_at:
        problems.append(Problem("/expires_at", "must be later than starts_at"))
    if expires_at is not None and now is not None and expires_at <= now:
        problems.append(Problem("/expires_at", "must lie in the future"))
    return problems


def _check_tags(tags: Sequence[str]) -> Iterator[Problem]:
    if len(tags) > MAX_TAGS:
        yield Problem("/tags", f"must be at most {MAX_TAGS} tags, not {len(tags)}")
        return
    seen: dict[str, int] = {}
    for place, tag in enumerate(tags):
        pointer = f"/tags/{place}"
        if not tag:
            yield Problem(pointer, "must not be empty")
        elif len(tag) > MAX_TAG_LENGTH:
            yield Problem(pointer, f"must be at most {MAX_TAG_LENGTH} characters, not {len(tag)}")
        elif _UNPRINTABLE.search(tag):
            yield Problem(pointer, "must hold no control characters, line separators or lone surrogates")
        elif seen.setdefault(tag, place) != place:
            yield Problem(pointer, f"repeats /tags/{seen[tag]}")


def _check_title(title: str) -> Iterator[Problem]:
    if len(title) > MAX_TITLE_LENGTH:
        yield Problem("/title", f"must be at most {MAX_TITLE_LENGTH} characters, not {len(title)}")
    if _UNPRINTABLE.search(title):
        yield Problem("/title", "must hold no control characters, line separators or lone surrogates")
