"""Whole JSON answers; nothing of the API is kept by a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astra_core.asgi import Response

if TYPE_CHECKING:
    from astra_core.asgi import Header

__all__ = ["json_answer"]

_HEADERS: tuple[Header, ...] = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


def json_answer(status: int, body: bytes, *headers: Header) -> Response:
    """Return a response with a JSON body."""
    return Response(status, body, (*_HEADERS, *headers))
