"""Which request a line belongs to: the scope is kept, and read only when a line is written."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from astra_core.asgi.request_id import request_id_of
from astra_core.asgi.trace import TRACE

if TYPE_CHECKING:
    from astra_core.asgi import Scope

__all__ = ["REQUEST", "RequestOf", "log_context"]

REQUEST = "astra_request"
"""Attribute of a record that names its request, as a `RequestOf`, where the context does not."""

log_context: ContextVar[Scope | None] = ContextVar("astra.log_context", default=None)
"""Scope of the request that the running task answers."""

_TRACE_BYTES = 16
_BOTH_BYTES = 24


class RequestOf:
    """Names the request of one line: `extra={REQUEST: RequestOf(scope)}`. A type of its own, so no data can pose."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def fields(self) -> dict[str, str]:
        """Return `request_id`, `trace_id` and `span_id`, those that are known."""
        found: dict[str, str] = {}
        request_id = request_id_of(self.scope)
        if isinstance(request_id, str):
            found["request_id"] = request_id
        trace = self.scope.get(TRACE)
        if isinstance(trace, bytes) and len(trace) == _BOTH_BYTES:
            found["trace_id"] = trace[:_TRACE_BYTES].hex()
            found["span_id"] = trace[_TRACE_BYTES:].hex()
        return found
