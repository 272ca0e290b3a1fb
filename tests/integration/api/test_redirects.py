from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.integration.api.served import problem_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.integration.api.served import Served

    Opened = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_the_status_and_headers_of_a_redirect(service: Served, status: int) -> None:
    """The link's status, its href byte for byte, no caching, no body; the same from the cache and for HEAD."""
    await service.create("https://bücher.example/ä?ö#ü", code="abc", redirect_status=status)
    for method in ("GET", "GET", "HEAD"):
        response = await service.http.request(method, "/abc")
        assert (response.status_code, response.content) == (status, b"")
        assert response.headers.multi_items() == [
            ("location", "https://xn--bcher-kva.example/%C3%A4?%C3%B6#%C3%BC"),
            ("cache-control", "private, no-store"),
            ("content-length", "0"),
        ]


async def test_the_default_status_is_a_setting(opened: Opened) -> None:
    """A link that names no status takes `links.redirect_status`, and null goes back to it."""
    async with opened(links={"redirect_status": 307}) as service:
        await service.create(code="abc", redirect_status=301)
        assert (await service.create(code="def"))["redirect_status"] == 307
        response = await service.http.patch("/v1/links/abc", json={"redirect_status": None})
        assert response.json()["redirect_status"] == 307
        assert [await service.follow(code) for code in ("abc", "def")] == [307, 307]


@pytest.mark.parametrize(
    "path", ["/nothere", "/ab", "/" + "x" * 65, "/a.b", "/", "/abc/def", "/abc/", "/a%00c", "//abc"]
)
async def test_unknown_paths(service: Served, path: str) -> None:
    """404 as a problem, again when it is known to be unknown."""
    await service.create(code="abc")
    for _ in range(2):
        problem_in(await service.http.get(httpx.URL(f"http://localhost{path}")), 404)


async def test_a_code_that_was_unknown_works_once_it_is_made(service: Served) -> None:
    """A creation ends what was remembered of the unknown code."""
    assert [await service.follow("abc") for _ in range(2)] == [404, 404]
    await service.create(code="abc")
    assert await service.follow("abc") == 302
    assert await service.follow("Abc") == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("code", ["abc", "nothere"])
async def test_other_methods(service: Served, method: str, code: str) -> None:
    """405 with Allow."""
    await service.create(code="abc")
    response = await service.http.request(method, f"/{code}")
    problem_in(response, 405)
    assert response.headers["allow"] == "GET, HEAD"


async def test_what_counts(service: Served) -> None:
    """A GET that is answered with a redirect counts; HEAD, prefetches and refusals do not."""
    for code, more in (("plain", {}), ("timed", {"expires_at": "2999-01-01T00:00:00Z"})):
        await service.create(code=code, **more)
        for _ in range(5):
            assert await service.follow(code) == 302
            assert await service.follow(code, "HEAD") == 302
            for purpose in ("prefetch", "prefetch;prerender"):
                assert await service.follow(code, headers={"sec-purpose": purpose}) == 302
            assert await service.follow(code, "POST") == 405
        await service.http.post(f"/v1/links/{code}/disable")
        assert await service.follow(code) == 410
        await service.counted(code, 5)


async def test_a_limit_is_never_overshot(service: Served) -> None:
    """Of many visits at once exactly `max_visits` are answered; the link is exhausted then, in every view."""
    await service.create(code="abc", max_visits=5)
    statuses = await asyncio.gather(*[service.follow("abc") for _ in range(25)])
    assert sorted(statuses) == [302] * 5 + [410] * 20
    assert (await service.read("abc"))["state"] == "exhausted"
    problem_in(await service.http.get("/abc"), 410, "link-gone")
    await service.counted("abc", 5)


async def test_a_limited_link_is_not_prefetched(service: Served) -> None:
    """HEAD takes no visit; a prefetch is refused rather than counted or given away."""
    await service.create(code="abc", max_visits=1)
    assert [await service.follow("abc", "HEAD") for _ in range(3)] == [302] * 3
    response = await service.http.get("/abc", headers={"sec-purpose": "prefetch"})
    problem_in(response, 403, "no-prefetch")
    assert [await service.follow("abc") for _ in range(2)] == [302, 410]
    assert await service.follow("abc", "HEAD") == 410


@pytest.mark.parametrize(
    ("target", "query", "location"),
    [
        ("https://a.example", b"x=1&y=%20", b"https://a.example/?x=1&y=%20"),
        ("https://a.example/p?a=b#part", b"x", b"https://a.example/p?a=b&x#part"),
        ("https://a.example/#part", b"x=#y", b"https://a.example/?x=%23y#part"),
        ("https://a.example/", b"", b"https://a.example/"),
        ("https://a.example/", b"a\r\nSet-Cookie: b", b"https://a.example/?a%0D%0ASet-Cookie:%20b"),
        ("https://a.example/", b"a\x00\xff\xc3\xa9", b"https://a.example/?a%00%FF%C3%A9"),
        ("https://a.example/", b'<a href="x">\'`{|}\\^', None),
    ],
)
async def test_a_forwarded_query_is_safe(service: Served, target: str, query: bytes, location: bytes | None) -> None:
    """The query goes along as printable ASCII, before the fragment, and can not end the header."""
    await service.create(target, code="abc", forward_query=True)
    await service.create(target, code="not")
    for code, wanted in (("abc", location), ("not", (await service.read("not"))["url"].encode())):
        sent = await raw_get(service, f"/{code}", query)
        (found,) = [value for name, value in sent["headers"] if name == b"location"]
        assert found == wanted or wanted is None
        assert all(0x21 <= byte <= 0x7E for byte in found)


async def raw_get(service: Served, path: str, query: bytes) -> dict[str, Any]:
    """GET with a query of any bytes, which no client library would send; returns the start of the answer."""
    transport = service.http._transport
    assert isinstance(transport, httpx.ASGITransport)
    sent: list[dict[str, Any]] = []
    headers = [(b"host", b"localhost")]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "query_string": query,
        "headers": headers,
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await transport.app(scope, receive, send)
    return sent[0]


async def test_a_change_shows_at_once(service: Served) -> None:
    """After each change's answer the redirect follows it, cached or not."""
    await service.create(code="abc")
    for url in ("https://one.example/", "https://two.example/"):
        assert await service.follow("abc") == 302
        await service.http.patch("/v1/links/abc", json={"url": url})
        assert (await service.http.get("/abc")).headers["location"] == url
    await service.http.patch("/v1/links/abc", json={"redirect_status": 301})
    assert await service.follow("abc") == 301
    await service.http.delete("/v1/links/abc")
    assert await service.follow("abc") == 410
