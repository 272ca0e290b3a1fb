"""Whose trace a request belongs to: what the recommendation takes, and everything that it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace

from astra_core.telemetry import TraceContextPropagator
from astra_core.telemetry.trace_context import parent_of, read_parent, span_context, written

TRACE = b"0af7651916cd43dd8448eb211c80319c"
SPAN = b"b7ad6b7169203331"


def header(version: bytes = b"00", trace_id: bytes = TRACE, span_id: bytes = SPAN, rest: bytes = b"-01") -> bytes:
    """Return a traceparent."""
    return b"-".join((version, trace_id, span_id)) + rest


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (header(), 1),
        (header(rest=b"-00"), 0),
        (header(rest=b"-03"), 3),
        (header(rest=b"-ff"), 3),  # flags that level 2 does not know are not handed on
        (b"  " + header() + b"\t", 1),
        (header(version=b"cc"), 1),
        (header(version=b"cc", rest=b"-01-what-comes-later"), 1),
    ],
)
def test_a_sound_header_names_the_caller(value: bytes, flags: int) -> None:
    """Its trace, its span, and the flags that are known."""
    parent = read_parent([value], [])
    assert parent is not None
    assert (parent.trace_id, parent.span_id, parent.flags) == (int(TRACE, 16), int(SPAN, 16), flags)
    assert parent.sampled is bool(flags & 1)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [header(), header()],
        [header(version=b"ff")],
        [header(version=b"0")],
        [header(version=b"AA")],
        [header(trace_id=b"0" * 32)],
        [header(span_id=b"0" * 16)],
        [header(trace_id=TRACE.upper())],
        [header(trace_id=TRACE + b"0")],
        [header(span_id=SPAN[:-1])],
        [header(rest=b"-1")],
        [header(rest=b"-.0")],
        [header(rest=b"-01-more")],  # version 00 has no more
        [header(version=b"cc", rest=b"-01.more")],
        [header(rest=b"")],
        [b""],
        [header() + b"\n"],
    ],
)
def test_anything_else_names_nobody(values: list[bytes]) -> None:
    """Twice, another version's shape, ids that are none, letters that are none."""
    assert read_parent(values, [b"a=1"]) is None


@pytest.mark.parametrize(
    ("headers", "state"),
    [
        ([b"a=1,b=2"], {"a": "1", "b": "2"}),
        ([b"a=1", b"b=2"], {"a": "1", "b": "2"}),
        ([b" a=1 ,\t, b=2 ,"], {"a": "1", "b": "2"}),
        ([b"a=1,a=2"], {"a": "1"}),
        ([b"foo@=1,foo@@bar=2,0a=3,a*/_-=4"], {"foo@": "1", "foo@@bar": "2", "0a": "3", "a*/_-": "4"}),
        ([b"z" * 256 + b"=1"], {"z" * 256: "1"}),
        ([b"a=" + b"v" * 256], {"a": "v" * 256}),
        ([b"a= v"], {"a": " v"}),
        ([b",".join(b"k%d=1" % number for number in range(32))], {f"k{number}": "1" for number in range(32)}),
        ([b",".join(b"k%d=1" % number for number in range(33))], {}),
        ([b"a=1,FOO=1"], {}),
        ([b"a=1,@foo=1"], {}),
        ([b"a=1,foo =1"], {}),
        ([b"a=1,foo"], {}),
        ([b"a=1,foo="], {}),
        ([b"a=1,foo=b=c"], {}),
        ([b"a=1,foo=\x01"], {}),
        ([b"a=1," + b"z" * 257 + b"=1"], {}),
        ([b"a=1,b=" + b"v" * 257], {}),
    ],
)
def test_the_state_is_taken_whole_or_not_at_all(headers: list[bytes], state: dict[str, str]) -> None:
    """A member that is malformed spoils the others; the caller's span is believed all the same."""
    parent = read_parent([header()], headers)
    assert parent is not None
    assert parent.state == state


@given(st.lists(st.tuples(st.sampled_from([b"traceparent", b"tracestate", b"x"]), st.binary(max_size=80)), max_size=6))
def test_no_bytes_break_it(headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever a stranger sends is a caller or nobody; what is handed on can be read again."""
    parent = parent_of(headers)
    if parent is not None:
        text = written(span_context(parent, sampled=parent.sampled)).encode()
        again = read_parent([text], [])
        assert again is not None
        assert again[:3] == parent[:3]


def test_the_propagator_hands_on_what_it_was_told() -> None:
    """Through OpenTelemetry's interface, keys of level 2 included; of nothing it hands on nothing."""
    propagator = TraceContextPropagator()
    carrier = {"traceparent": header(rest=b"-03").decode(), "tracestate": "foo@@bar=1,b=2"}
    context = propagator.extract(carrier)
    current = trace.get_current_span(context).get_span_context()
    assert current.is_remote
    assert current.trace_flags.random_trace_id
    sent: dict[str, str] = {}
    propagator.inject(sent, context)
    assert sent == carrier
    nothing: dict[str, str] = {}
    propagator.inject(nothing, propagator.extract({}))
    assert nothing == {}
