"""W3C Trace Context, level 2, read strictly: whose trace a request belongs to, and what is handed on.

Source: https://www.w3.org/TR/trace-context-2/. Beside OpenTelemetry's own propagator this one refuses a `traceparent`
that comes twice, joins several `tracestate` headers, takes the keys of level 2, and drops a `tracestate` as a whole
when one member is malformed, as the recommendation asks. It passes the W3C's own suite.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.propagators.textmap import (
    DefaultGetter,
    DefaultSetter,
    Getter,
    Setter,
    TextMapPropagator,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import CarrierT

__all__ = ["SAMPLED", "Parent", "TraceContextPropagator", "parent_of", "read_parent", "span_context", "written"]

SAMPLED: Final = 0x01
_RANDOM: Final = 0x02
_KNOWN: Final = SAMPLED | _RANDOM
_MEMBERS: Final = 32
_HEADER: Final = 8_192
"""Bytes of `tracestate` headers that are looked at; the recommendation asks for 512 at least."""
_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_MEMBER: Final = re.compile(
    rb"([a-z0-9][a-z0-9_\-*/@]{0,255})=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)


class Parent(NamedTuple):
    """The span of the caller. `flags` are those that level 2 knows, `state` its `tracestate` by key."""

    trace_id: int
    span_id: int
    flags: int
    state: dict[str, str]

    @property
    def sampled(self) -> bool:
        """Whether the caller traces this request."""
        return bool(self.flags & SAMPLED)


class _State(trace.TraceState):
    """A `tracestate` that was checked by the grammar of level 2; the constructor above knows level 1 alone."""

    def __init__(self, members: dict[str, str]) -> None:
        super().__init__()
        self._dict = members


def parent_of(headers: Iterable[tuple[bytes, bytes]]) -> Parent | None:
    """Return the caller's span, from the headers of an ASGI scope."""
    parents = [value for name, value in headers if name == b"traceparent"]
    return read_parent(parents, [value for name, value in headers if name == b"tracestate"]) if parents else None


def read_parent(traceparents: list[bytes], tracestates: list[bytes]) -> Parent | None:
    """Return the caller's span, from the values of the two headers; None when there is none to believe in."""
    if len(traceparents) != 1:
        return None
    found = _TRACEPARENT.fullmatch(traceparents[0].strip(b" \t"))
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    trace_number, span_number = int(trace_id, 16), int(span_id, 16)
    if not trace_number or not span_number:
        return None
    return Parent(trace_number, span_number, int(flags, 16) & _KNOWN, _state(tracestates))


def _state(headers: list[bytes]) -> dict[str, str]:
    text = b",".join(headers)
    members = [member for part in text.split(b",") if (member := part.strip(b" \t"))]
    if len(members) > _MEMBERS or len(text) > _HEADER:
        return {}
    state: dict[str, str] = {}
    for member in members:
        found = _MEMBER.fullmatch(member)
        if found is None:
            return {}
        state.setdefault(found[1].decode("ascii"), found[2].decode("ascii"))
    return state


def span_context(parent: Parent, *, sampled: bool) -> trace.SpanContext:
    """Return the caller's span as OpenTelemetry has it, with our own word on whether it is sampled."""
    flags = (parent.flags & ~SAMPLED) | (SAMPLED if sampled else 0)
    state = _State(parent.state)
    return trace.SpanContext(parent.trace_id, parent.span_id, True, trace.TraceFlags(flags), state)


def written(context: trace.SpanContext) -> str:
    """Return the `traceparent` that tells of `context`."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & _KNOWN:02x}"


class TraceContextPropagator(TextMapPropagator):
    """The same, for whatever takes a propagator of OpenTelemetry."""

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = DefaultGetter(),  # type: ignore[assignment]  # noqa: B008 - as in the interface
    ) -> Context:
        """Return `context` with the caller's span in it, where the carrier names one."""
        parents = [value.encode("latin-1") for value in getter.get(carrier, "traceparent") or ()]
        states = [value.encode("latin-1") for value in getter.get(carrier, "tracestate") or ()]
        parent = read_parent(parents, states)
        if parent is None:
            return context if context is not None else trace.set_span_in_context(trace.INVALID_SPAN, context)
        span = trace.NonRecordingSpan(span_context(parent, sampled=parent.sampled))
        return trace.set_span_in_context(span, context)

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = DefaultSetter(),  # type: ignore[assignment]  # noqa: B008 - as in the interface
    ) -> None:
        """Write the current span into the carrier, if there is one."""
        current = trace.get_current_span(context).get_span_context()
        if not current.is_valid:
            return
        setter.set(carrier, "traceparent", written(current))
        if current.trace_state:
            setter.set(carrier, "tracestate", ",".join(f"{key}={value}" for key, value in current.trace_state.items()))

    @property
    def fields(self) -> set[str]:
        """The headers that are written."""
        return {"traceparent", "tracestate"}
