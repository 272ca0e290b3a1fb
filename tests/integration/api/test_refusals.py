from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api.served import pointers, problem_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.integration.api.served import Served

    Opened = Callable[..., AbstractAsyncContextManager[Served]]

JSON = {"content-type": "application/json"}
BODIES = [("POST", "/v1/links"), ("POST", "/v1/links/batch"), ("PATCH", "/v1/links/abc")]
ALLOWED = {
    "/v1/links": {"GET", "HEAD", "POST"},
    "/v1/links/abc": {"GET", "HEAD", "PATCH", "DELETE"},
    "/v1/links/abc/disable": {"POST"},
    "/v1/links/abc/enable": {"POST"},
    "/healthz": {"GET", "HEAD"},
    "/readyz": {"GET", "HEAD"},
    "/openapi.json": {"GET", "HEAD"},
}


@pytest.mark.parametrize("path", ALLOWED)
async def test_other_methods_are_refused_with_what_is_allowed(service: Served, path: str) -> None:
    """405 names every method of the path in Allow, for OPTIONS and made-up methods too."""
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"):
        if method in ALLOWED[path]:
            continue
        response = await service.http.request(method, path, json={})
        assert response.status_code == 405
        if method != "HEAD":
            problem_in(response, 405)
        assert set(response.headers["allow"].split(", ")) == ALLOWED[path]


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/links/", "/v1/links/abc/", "/v1/links/abc/stats", "/v2/links", "/ui"]
)
async def test_paths_that_are_not_there(service: Served, path: str) -> None:
    """404 as a problem for every method; a final slash is another path and is never redirected."""
    for method in ("GET", "POST", "PUT", "DELETE"):
        problem_in(await service.http.request(method, path), 404)


async def test_head_answers_like_get(service: Served) -> None:
    """HEAD has the headers of GET, on management routes and errors too."""
    await service.create(code="abc")
    for path in ("/v1/links", "/v1/links/abc", "/healthz", "/openapi.json", "/v1/links/nothere"):
        got, head = await service.http.get(path), await service.http.head(path)
        assert (head.status_code, head.headers["content-type"]) == (got.status_code, got.headers["content-type"])
        assert head.headers.get("etag") == got.headers.get("etag")


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"{'url': 1}", b"\xff", b'{"\xff": 1}', b"NaN", b"\x00", b"\xef\xbb\xbf{}"]
)
async def test_malformed_json(service: Served, method: str, path: str, body: bytes) -> None:
    """400 says that the body is not JSON."""
    await service.create(code="abc")
    problem = problem_in(await service.http.request(method, path, content=body, headers=JSON), 400)
    assert problem["detail"].startswith("The body is not JSON: ")


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"links":[' * 50_000, b'{"links":[%s]}' % (b'{"x":' * 50_000)])
async def test_endless_nesting(service: Served, method: str, path: str, body: bytes) -> None:
    """A body that is nested without end is refused, and costs nobody the stack."""
    await service.create(code="abc")
    response = await service.http.request(method, path, content=body, headers=JSON)
    problem_in(response, response.status_code)
    assert response.status_code in {400, 422}


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_other_media_types(service: Served, method: str, path: str) -> None:
    """415 with the types that would do, for a wrong Content-Type, a missing one, and an encoded body."""
    await service.create(code="abc")
    accepted = "accept-patch" if method == "PATCH" else "accept-post"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""):
        response = await service.http.request(method, path, content=b"{}", headers={"content-type": kind})
        problem_in(response, 415)
        assert "application/json" in response.headers[accepted]
    response = await service.http.request(method, path, content=b"{}", headers={**JSON, "content-encoding": "gzip"})
    problem_in(response, 415)
    assert response.headers["accept-encoding"] == "identity"
    response = await service.http.request(
        method, path, content=b"{}", headers={"content-type": "Application/JSON ;x=y"}
    )
    assert response.status_code in {200, 422}


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_bodies_that_are_too_large(opened: Opened, method: str, path: str) -> None:
    """413 before the body is read when its length is declared, and while it is read when it is not."""
    async with opened(server={"max_body": 1024, "max_batch_body": 1024}) as service:
        await service.create(code="abc")
        read = 0

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal read
            for _ in range(100):
                read += 1
                yield b" " * 100

        response = await service.http.request(method, path, content=chunks(), headers=JSON)
        problem_in(response, 413)
        assert read < 100
        read = 0
        response = await service.http.request(
            method, path, content=chunks(), headers={**JSON, "content-length": "1025"}
        )
        problem_in(response, 413)
        assert response.headers["connection"] == "close"
        assert read == 0


async def test_a_body_that_does_not_arrive(opened: Opened) -> None:
    """408 after `server.body_timeout`, and the connection is to be closed."""
    async with opened(server={"body_timeout": 0.1}) as service:

        async def chunks() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        response = await service.http.post("/v1/links", content=chunks(), headers=JSON)
        assert "0.1 s" in problem_in(response, 408)["detail"]
        assert response.headers["connection"] == "close"


async def test_a_pointer_leads_into_the_body(service: Served) -> None:
    """A pointer of a deep or odd member is a JSON Pointer of bounded length."""
    for body, expected in (
        ({"url": "https://a.example", "tags": [["a"]]}, "/tags/0"),
        ({"url": "https://a.example", "~/": 1}, "/~0~1"),
        ({"url": "https://a.example", "x" * 5_000: 1}, "/" + "x" * 100),
        ({"url": "https://a.example", "": 1}, "/"),
        (5, ""),
    ):
        response = await service.http.post("/v1/links", json=body)
        assert pointers(problem_in(response, 422)) == [expected]
        assert len(response.content) < 2_000


@pytest.mark.parametrize("length", ["²", "٣", "-1", "1e3", "9" * 5000, ""])
async def test_an_odd_content_length_is_no_mistake_of_ours(service: Served, length: str) -> None:
    """Whatever a server lets through as a length, the body is read and bounded."""
    headers: Any = [(b"content-type", b"application/json"), (b"content-length", length.encode("latin-1", "replace"))]
    response = await service.http.post("/v1/links", content=b'{"url": "https://a.example"}', headers=headers)
    assert response.status_code in {201, 413}


async def test_health_and_readiness(service: Served) -> None:
    """Both answer 200 and are never cached; readiness names each dependency."""
    health, ready = await service.http.get("/healthz"), await service.http.get("/readyz")
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert set(ready.json()["dependencies"]) == {"store", "changes", "cache", "clicks"}
    assert all(state["ok"] for state in ready.json()["dependencies"].values())
    assert {health.headers["cache-control"], ready.headers["cache-control"]} == {"no-store"}


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        ("GET", "/v1/links?limt=5", "limt: unknown query parameter; perhaps limit is meant."),
        ("HEAD", "/v1/links?limt=5", None),
        ("GET", "/v1/links?limit=5&page=2", "page: unknown query parameter; known: limit, cursor, tag, state, q."),
        ("GET", "/v1/links?q", None),
        ("GET", "/v1/links?tag=%20", None),
        ("GET", "/v1/links?limit=1&limit=2", "limit: stands twice in the query; give it once."),
        ("GET", "/v1/links/abc/history?cursor=5", "cursor: unknown query parameter; known: after, limit."),
        ("GET", "/v1/links/abc?x", "x: unknown query parameter; leave it out."),
        ("DELETE", "/v1/links/abc?x=1", "x: unknown query parameter; leave it out."),
        ("POST", "/v1/links?x=1", "x: unknown query parameter; leave it out."),
        ("GET", "/v1/links?a%00%0Ab=1", "'a\\x00\\nb': unknown query parameter; known: limit, cursor, tag, state, q."),
    ],
)
async def test_a_query_parameter_that_is_unknown_or_stands_twice_is_refused(
    service: Served, method: str, path: str, detail: str | None
) -> None:
    """422 names it and what it may have been meant to be, and nothing is done."""
    link = await service.create(code="abc")
    response = await service.http.request(method, path, json={"url": "https://b.example"} if method == "POST" else None)
    assert response.status_code == 422
    if detail is not None:
        assert problem_in(response, 422)["detail"] == detail
    assert (await service.http.get("/v1/links")).json()["items"] == [link]


@pytest.mark.parametrize("path", ["/healthz?probe=1", "/readyz?t=5", "/metrics?name=x", "/abc?utm_source=mail"])
async def test_what_machines_and_visitors_ask_may_have_any_query(service: Served, path: str) -> None:
    """Probes, scrapes and visits carry parameters of their own."""
    await service.create(code="abc")
    assert (await service.http.get(path)).status_code in {200, 302}
