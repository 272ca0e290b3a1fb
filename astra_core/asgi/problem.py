"""Errors as `application/problem+json` (RFC 9457), with `request_id` and, for validation, `errors`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from astra_core.asgi.respond import Response

if TYPE_CHECKING:
    from astra_core.asgi.request_id import RequestIds
    from astra_core.asgi.types import Header, Scope

__all__ = ["FieldError", "Problem", "Problems"]

_JSON = msgspec.json.Encoder()
_MAX_INSTANCE = 512


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid member: a JSON Pointer (RFC 6901) into the payload, and what is wrong with it and what to do."""

    pointer: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong, in the words of RFC 9457.

    `type` is a URI; `about:blank` says that the status alone explains it. `retry_after` is in seconds.
    """

    status: int
    detail: str
    type: str = "about:blank"
    title: str = ""
    errors: tuple[FieldError, ...] = ()
    retry_after: float | None = None
    headers: tuple[Header, ...] = ()

    def members(self) -> dict[str, Any]:
        """Return the JSON members that do not depend on the request."""
        members: dict[str, Any] = {
            "type": self.type,
            "title": self.title or HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            members["errors"] = [{"pointer": e.pointer, "detail": e.detail} for e in self.errors]
        return members


class Problems:
    """Turns problems into responses that carry the request's id, so that a report can be found again in the log."""

    def __init__(self, request_ids: RequestIds) -> None:
        self._request_ids = request_ids

    def id_of(self, scope: Scope) -> str:
        """Return the id of the request of `scope`; one that no middleware gave an id keeps this one."""
        return self._request_ids.of(scope)

    def respond(self, problem: Problem, scope: Scope) -> Response:
        """Return the response to `problem` in the request of `scope`."""
        members = problem.members()
        members["instance"] = _instance(scope["path"])
        request_id = members["request_id"] = self.id_of(scope)
        headers: list[Header] = [
            (b"content-type", b"application/problem+json"),
            (b"cache-control", b"no-store"),
            (self._request_ids.header, request_id.encode("ascii")),
        ]
        if problem.retry_after is not None:
            headers.append((b"retry-after", str(max(1, math.ceil(problem.retry_after))).encode()))
        headers.extend(problem.headers)
        return Response(problem.status, _JSON.encode(members), headers)


def _instance(path: str) -> str:
    """Return the path as a URI reference; two leading slashes would name a host, so they get `/.` (WHATWG URL)."""
    quoted = quote(path[:_MAX_INSTANCE], safe="/", errors="replace")
    return "/." + quoted if quoted.startswith("//") else quoted
