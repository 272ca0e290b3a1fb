"""Request ids: 128 random bits in hex, cut from blocks of entropy because a system call a request is dear."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.asgi.types import Scope

__all__ = ["REQUEST_ID", "RequestIds", "request_id_of"]

REQUEST_ID = "astra.request_id"
"""Key in the scope under which a request's id stands, once a middleware gave it one."""

_BYTES = 16
_BLOCK = 256
_SAFE = re.compile(rb"[A-Za-z0-9._-]{1,128}")
"""What may stand in a log line and in a header as it is."""
_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""A field name of RFC 9110, section 5.1."""


class RequestIds:
    """Names requests, by an endless supply of ids of 32 hex digits. `entropy(n)` returns n random bytes.

    The id of a request is our own, unless a `trusted(scope)` caller sent one in `header` that is safe to repeat; nobody
    is trusted by default, since a stranger who chooses ids can make two requests look like one. ValueError when
    `header` is no name of a header.
    """

    def __init__(
        self,
        entropy: Callable[[int], bytes] = os.urandom,
        *,
        trusted: Callable[[Scope], bool] | None = None,
        header: bytes | str = b"x-request-id",
    ) -> None:
        name = header.encode() if isinstance(header, str) else header
        if _TOKEN.fullmatch(name) is None:
            raise ValueError(f"{header!r} is no name of a header")
        self.header = name.lower()
        self._entropy = entropy
        self._trusted = trusted
        self._ids: list[str] = []

    def next(self) -> str:
        """Return an id that was never returned before."""
        if not self._ids:
            block = self._entropy(_BYTES * _BLOCK).hex()
            self._ids = [block[at : at + 2 * _BYTES] for at in range(0, len(block), 2 * _BYTES)]
        return self._ids.pop()

    def of(self, scope: Scope) -> str:
        """Return the id of the request of `scope`; one that has none gets it here, under `REQUEST_ID`, and keeps it."""
        if REQUEST_ID not in scope:
            trusted = self._trusted is not None and self._trusted(scope)
            scope[REQUEST_ID] = (self._sent(scope) if trusted else "") or self.next()
        request_id: str = scope[REQUEST_ID]
        return request_id

    def _sent(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == self.header:
                return value.decode("ascii") if _SAFE.fullmatch(value) else ""
        return ""


def request_id_of(scope: Scope) -> str | None:
    """Return the id of the request of `scope`; None when no middleware gave it one."""
    return scope.get(REQUEST_ID)
