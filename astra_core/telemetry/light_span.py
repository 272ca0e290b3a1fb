"""A span that costs its maker little: it keeps what it is told, and becomes OpenTelemetry's own when it is exported.

A span of the SDK takes locks, bounds and copies at each step, 33 us for a request; this one takes 6, and leaves the
rest to the thread that exports.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.util.types import Attributes, AttributeValue

__all__ = ["LightSpan"]

_ATTRIBUTES: Final = 64
_EVENTS: Final = 32
_LINKS: Final = 128
_LENGTH: Final = 1_024
_UNSET: Final = Status(StatusCode.UNSET)


class LightSpan(Span):
    """A span that is recorded and sampled. `described` gives further attributes, in the thread that exports."""

    def __init__(
        self,
        name: str,
        context: SpanContext,
        *,
        kind: SpanKind,
        parent: SpanContext | None,
        ended: Callable[[LightSpan], None],
        attributes: Attributes = None,
        described: Callable[[], Mapping[str, Any]] | None = None,
        links: Sequence[Link] = (),
        start_time: int | None = None,
    ) -> None:
        self._name = name
        self._context = context
        self._kind = kind
        self._parent = parent
        self._ended = ended
        self._attributes: dict[str, Any] = dict(attributes) if attributes else {}
        self._described = described
        self._links = list(links[:_LINKS])
        self._events: list[Event] = []
        self._status = _UNSET
        self._start = time.time_ns() if start_time is None else start_time
        self._end: int | None = None

    def end(self, end_time: int | None = None) -> None:
        """End it, once, and hand it over."""
        if self._end is None:
            self._end = time.time_ns() if end_time is None else end_time
            self._ended(self)

    def get_span_context(self) -> SpanContext:
        """Return what names it."""
        return self._context

    def is_recording(self) -> bool:
        """Whether it still takes anything."""
        return self._end is None

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Keep an attribute; at most 64."""
        if self._end is None and (len(self._attributes) < _ATTRIBUTES or key in self._attributes):
            self._attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Keep several."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Keep an event; at most 32."""
        if self._end is None and len(self._events) < _EVENTS:
            bounded = BoundedAttributes(_ATTRIBUTES, attributes, max_value_len=_LENGTH)
            self._events.append(Event(name, bounded, timestamp))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Keep a link; at most 128."""
        if self._end is None and len(self._links) < _LINKS:
            self._links.append(Link(context, attributes))

    def update_name(self, name: str) -> None:
        """Call it otherwise."""
        self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say how it went."""
        self._status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Keep the class of an error. Its words may hold what is nobody's business."""
        self.add_event("exception", {"exception.type": type(exception).__qualname__, **(attributes or {})}, timestamp)

    def readable(self, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
        """Return it as exporters read it; called where it is exported."""
        attributes = {**(self._described() if self._described else {}), **self._attributes}
        return ReadableSpan(
            self._name,
            self._context,
            self._parent,
            resource,
            {name: _cut(value) for name, value in itertools.islice(attributes.items(), _ATTRIBUTES)},
            events=self._events,
            links=self._links,
            kind=self._kind,
            status=self._status,
            start_time=self._start,
            end_time=self._end,
            instrumentation_scope=scope,
        )

    def __repr__(self) -> str:
        return f"<LightSpan {self._name!r} {'recording' if self._end is None else 'ended'}>"


def _cut(value: Any) -> Any:
    return value[:_LENGTH] if isinstance(value, str) else value
