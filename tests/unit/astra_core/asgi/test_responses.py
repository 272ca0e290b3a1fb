"""Whole responses and request ids."""

from __future__ import annotations

import json

import pytest

from astra_core.asgi import Problem, Problems, RequestIds, Response
from tests.unit.astra_core.asgi.driver import call, http_scope


async def test_a_response_has_its_length_and_headers() -> None:
    """Status, headers and body as given, `content-length` added; the given list stays as it was."""
    headers = [(b"x-a", b"1")]
    response = Response(201, b"hello", headers)
    for _ in range(2):
        server = await call(response, http_scope())
        assert (server.status, server.body) == (201, b"hello")
        assert server.headers == {b"x-a": b"1", b"content-length": b"5"}
    assert headers == [(b"x-a", b"1")]
    assert repr(response) == "<Response 201, 5 bytes>"


async def test_head_has_the_length_and_no_body() -> None:
    """A HEAD request learns what a GET would have got."""
    server = await call(Response(200, b"hello"), http_scope(method="HEAD"))
    assert (server.headers[b"content-length"], server.body) == (b"5", b"")


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_content_sends_none(status: int) -> None:
    """204 and 304 carry neither length nor body, even when one was given: it would be read as the next answer."""
    server = await call(Response(status, b"left out"), http_scope())
    assert (server.status, server.headers, server.body) == (status, {}, b"")


def test_request_ids_are_unique_and_come_from_few_calls() -> None:
    """Ten thousand ids of 128 bits, all different, from one call for entropy per 256."""
    calls: list[int] = []

    def entropy(size: int) -> bytes:
        calls.append(size)
        return b"".join((len(calls) * 1000 + place).to_bytes(16, "big") for place in range(size // 16))

    ids = RequestIds(entropy)
    made = [ids.next() for _ in range(10_000)]
    assert len(set(made)) == 10_000
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in made)
    assert calls == [4096] * 40
    assert RequestIds().next() != RequestIds().next()


def test_whoever_names_a_request_first_goes_by_the_same_rules() -> None:
    """A problem that is answered before any middleware named the request, too: a trusted caller's id is kept."""
    sent = [(b"x-request-id", b"from-outside")]
    stranger, proxy = http_scope("/a", headers=sent), http_scope("/b", headers=sent)
    ids = RequestIds(trusted=lambda scope: scope["path"] == "/b")
    answers = [Problems(ids).respond(Problem(status=500, detail="a bug"), scope) for scope in (stranger, proxy)]
    named = [json.loads(answer.body)["request_id"] for answer in answers]
    assert named == [ids.of(stranger), "from-outside"]
    assert ids.of(stranger) == ids.of(stranger) != "from-outside"
