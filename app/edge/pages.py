"""A dead short link as a browser shows it: a plain page in place of JSON, for whoever followed the link by hand."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from astra_core.asgi import Response

if TYPE_CHECKING:
    from astra_core.asgi import Header, Problem, Scope

__all__ = ["page_of", "wants_page"]

_PAGE = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body><h1>{title}</h1><p>{detail}</p><p>{status}, request {request_id}</p></body>
</html>
"""
_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'"),
)


def wants_page(scope: Scope) -> bool:
    """Whether a browser asks: it names HTML, and not JSON too. `*/*`, as of command lines, gets JSON."""
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept").lower()
    return b"text/html" in accepted and b"json" not in accepted


def page_of(problem: Problem, request_id: str) -> Response:
    """Return the page that says `problem`, without a script or anything to load."""
    texts = {"title": problem.title, "detail": problem.detail, "status": str(problem.status), "request_id": request_id}
    page = _PAGE.format_map({name: escape(text) for name, text in texts.items()})
    return Response(problem.status, page.encode(), _HEADERS)
