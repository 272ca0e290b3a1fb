from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.models import LinkPatch, NewLink, RawBatch
from app.api.payload import decode
from app.api.problems import RequestRefused

NEW: msgspec.json.Decoder[Any] = msgspec.json.Decoder(NewLink)
PATCH: msgspec.json.Decoder[Any] = msgspec.json.Decoder(LinkPatch)
BATCH: msgspec.json.Decoder[Any] = msgspec.json.Decoder(RawBatch)
TIME = "must be an RFC 3339 time with an offset, such as 2030-12-31T23:59:59Z"
MEMBERS = (*NewLink.__struct_fields__, "links")
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=400),
    lambda inner: st.lists(inner, max_size=22) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=25,
)
URL = b'{"url":"https://a.example",'


def refusal(decoder: msgspec.json.Decoder[Any], body: bytes) -> RequestRefused:
    """What decoding refuses the body with."""
    with pytest.raises(RequestRefused) as caught:
        decode(decoder, body)
    return caught.value


@pytest.mark.parametrize(
    ("decoder", "body", "pointer", "detail"),
    [
        (NEW, b"{}", "/url", "is missing; it is required"),
        (NEW, b"[]", "", "must be an object, not a list"),
        (NEW, URL + b'"x":1}', "/x", "is not a member of this object; leave it out"),
        (NEW, URL + b'"a`b":1}', "/a`b", "is not a member of this object; leave it out"),
        (NEW, URL + b'"~/":1}', "/~0~1", "is not a member of this object; leave it out"),
        (NEW, URL + b'"tags":["a",1]}', "/tags/1", "must be a text, not a whole number"),
        (NEW, URL + b'"max_visits":0}', "/max_visits", "must be at least 1"),
        (NEW, URL + b'"max_visits":9007199254740993}', "/max_visits", "must be at most 9007199254740992"),
        (NEW, URL + b'"max_visits":1e999}', "/max_visits", "must be a number of an ordinary size"),
        (NEW, URL + b'"max_visits":"3"}', "/max_visits", "must be a whole number or null, not a text"),
        (NEW, URL + b'"title":"%s"}' % (b"x" * 301), "/title", "must be at most 300 characters long"),
        (NEW, URL + b'"tags":[%s]}' % b",".join([b'"a"'] * 21), "/tags", "must hold at most 20 tags"),
        (NEW, URL + b'"expires_at":5}', "/expires_at", f"{TIME} or null, not a whole number"),
        (PATCH, b'{"tags":"x"}', "/tags", "must be a list or null, not a text"),
        (NEW, URL + b'"max_visits":1.5}', "/max_visits", "must be a whole number or null, not a decimal number"),
        (NEW, URL + b'"starts_at":"tomorrow"}', "/starts_at", TIME),
        (NEW, URL + b'"starts_at":"2030-12-31T23:59:59"}', "/starts_at", TIME),
        (NEW, URL + b'"forward_query":0}', "/forward_query", "must be true or false or null, not a whole number"),
        (PATCH, b'{"url":null}', "/url", None),
        (PATCH, b'{"code":"abc"}', "/code", "is not a member of this object; leave it out"),
        (BATCH, b'{"links":{}}', "/links", "must be a list, not an object"),
        (BATCH, b'{"links":[]}', "/links", "must hold at least one link"),
    ],
)
def test_a_refusal_points_at_the_member(
    decoder: msgspec.json.Decoder[Any], body: bytes, pointer: str, detail: str | None
) -> None:
    """422 with a JSON Pointer (RFC 6901) and what is wrong there."""
    problem = refusal(decoder, body).problem
    assert problem.status == 422
    (error,) = problem.errors
    assert error.pointer == pointer
    assert detail is None or error.detail == detail


def test_a_bad_link_spoils_no_batch() -> None:
    """A batch is decoded without looking into its links; each is read on its own then."""
    batch = decode(BATCH, b'{"links":[5,{"url":"https://a.example"},{"url":"\xff"}]}')
    assert decode(NEW, batch.links[1]).url == "https://a.example"
    assert [refusal(NEW, batch.links[place]).problem.status for place in (0, 2)] == [422, 400]


@pytest.mark.parametrize("body", [b"", b"{", b"nul", b"\xff", b'{"url":"\xff"}', b"{}x", b"[" * 10_000])
def test_what_is_not_json_is_400(body: bytes) -> None:
    """A body that is not JSON at all names no member."""
    problem = refusal(msgspec.json.Decoder(), body).problem
    assert (problem.status, problem.errors) == (400, ())
    assert problem.detail.startswith("The body is not JSON: ")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (URL, "it breaks off"),
        (b'{"url":"\\ud83d', "it breaks off"),
        (b'{"url":"\\ud83d\\', "it breaks off"),
        (b'{"url":"\\\\ud800 ', "it breaks off"),
        (b'{"url":"https://a.example/\\ud800"}', "half of a surrogate pair stands alone in it, such as \\ud800"),
        (b'{"url":"\\uD800\\n"}', "half of a surrogate pair stands alone in it, such as \\ud800"),
        (b'{"url":"\\udc00"}', "half of a surrogate pair stands alone in it, such as \\ud800"),
        (b'{"url":"\\ud800\\u0041"}', "half of a surrogate pair stands alone in it, such as \\ud800"),
        (b'{"url":"\xff"}', "it is not UTF-8"),
        (b'{"url":1 2}', "expected ',' or '}' (byte 9)"),
        (b'{"x":' * 10_000, "it is nested too deeply"),
    ],
)
def test_what_is_not_json_is_told_in_words(body: bytes, why: str) -> None:
    """Neither the decoder's reading nor Python's shows through."""
    assert refusal(msgspec.json.Decoder(), body).problem.detail == f"The body is not JSON: {why}."


@given(st.sampled_from((NEW, PATCH, BATCH)), st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=3) | VALUES)
def test_no_type_of_the_program_shows(decoder: msgspec.json.Decoder[Any], value: Any) -> None:
    """Whatever is sent, a refusal speaks in words: no name of a type, no bound in signs."""
    try:
        decode(decoder, msgspec.json.encode(value))
    except RequestRefused as error:
        text = " ".join(one.detail for one in error.problem.errors)
        assert re.search(r"`|[<>]=|\b(int|str|bool|array|datetime|expected)\b", text) is None
