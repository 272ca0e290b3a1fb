"""Problems as RFC 9457 wants them, whatever the path holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra_core.asgi import REQUEST_ID, FieldError, Problem, Problems, RequestIds, request_id_of
from tests.unit.astra_core.asgi.driver import call, http_scope

if TYPE_CHECKING:
    from astra_core.asgi import Scope


@pytest.fixture
def problems() -> Problems:
    """Return problems with ids of their own."""
    return Problems(RequestIds())


async def test_the_members_of_a_problem(problems: Problems) -> None:
    """The standard members, the request's id, and for validation where and what."""
    problem = Problem(
        status=422,
        type="urn:x:invalid",
        title="Invalid",
        detail="One member is invalid.",
        errors=(FieldError("/url", "must be a URL"),),
        headers=((b"x-more", b"1"),),
    )
    server = await call(problems.respond(problem, http_scope("/v1/links")), http_scope("/v1/links"))
    answer = server.problem
    assert len(answer.pop("request_id")) == 32
    assert answer == {
        "type": "urn:x:invalid",
        "title": "Invalid",
        "status": 422,
        "detail": "One member is invalid.",
        "instance": "/v1/links",
        "errors": [{"pointer": "/url", "detail": "must be a URL"}],
    }
    assert server.headers[b"cache-control"] == b"no-store"
    assert server.headers[b"x-more"] == b"1"
    assert b"retry-after" not in server.headers


async def test_a_plain_problem_takes_its_title_from_the_status(problems: Problems) -> None:
    """`about:blank` says that the title is that of the status, and there is no empty `errors`."""
    answer = (await call(problems.respond(Problem(status=404, detail="no"), http_scope()), http_scope())).problem
    assert (answer["type"], answer["title"]) == ("about:blank", "Not Found")
    assert "errors" not in answer


async def test_a_problem_carries_the_id_of_its_request(problems: Problems) -> None:
    """The one that a middleware gave it, else one that it keeps from its first problem on, for the log."""
    problem = Problem(status=500, detail="bug")

    def told(scope: Scope) -> str:
        request_id: str = json.loads(problems.respond(problem, scope).body)["request_id"]
        return request_id

    assert len({told(http_scope()) for _ in range(300)}) == 300
    scope = http_scope()
    assert request_id_of(scope) is None
    assert told(scope) == told(scope) == problems.id_of(scope) == request_id_of(scope)
    assert told({**http_scope(), REQUEST_ID: "given"}) == "given"


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.2, b"2"), (2.5, b"3"), (60.0, b"60")]
)
async def test_retry_after_is_never_earlier_than_the_wait(problems: Problems, seconds: float, header: bytes) -> None:
    """Whole seconds, rounded up, at least one: a client that obeys comes back when it makes sense."""
    problem = Problem(status=503, detail="later", retry_after=seconds)
    server = await call(problems.respond(problem, http_scope()), http_scope())
    assert server.headers[b"retry-after"] == header


@given(st.text(st.characters(), max_size=600).map(lambda text: "/" + text))
def test_the_instance_is_a_uri_reference_to_the_path(path: str) -> None:
    """Any path, lone surrogates and control characters included, is told as an ASCII path without a host or query."""
    body = Problems(RequestIds()).respond(Problem(status=404, detail="no"), http_scope(path)).body
    instance = json.loads(body)["instance"]
    parts = urlsplit(instance)
    assert instance.isascii()
    assert instance.isprintable()
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
    told = unquote_to_bytes(instance.removeprefix("/.") if path.startswith("//") else instance)
    assert told == path[:512].encode("utf-8", "replace")


def test_a_path_of_two_slashes_names_no_host() -> None:
    """`//evil.example/x` as a reference would lead elsewhere."""
    body = Problems(RequestIds()).respond(Problem(status=404, detail="no"), http_scope("//evil.example/x")).body
    assert json.loads(body)["instance"] == "/.//evil.example/x"
