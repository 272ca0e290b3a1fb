from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api.served import pointers, problem_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.integration.api.served import Served

    Opened = Callable[..., AbstractAsyncContextManager[Served]]

MEMBERS = {
    "code", "short_url", "url", "display_url", "state", "version", "created_at", "updated_at", "starts_at",
    "expires_at", "max_visits", "redirect_status", "forward_query", "tags", "title", "private", "visits",
}  # fmt: skip


async def test_a_new_link_is_answered_whole(service: Served) -> None:
    """201 with Location, ETag and every member of a Link, its defaults filled in."""
    response = await service.http.post("/v1/links", json={"url": "HTTPS://Example.COM/a b?x#y"})
    link = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/links/{link['code']}"
    assert response.headers["etag"] == '"1"'
    assert response.headers["cache-control"] == "no-store"
    assert set(link) == MEMBERS
    assert re.fullmatch("[0-9A-Za-z]{7}", link["code"])
    assert link["url"] == link["display_url"] == "https://example.com/a%20b?x#y"
    assert link["short_url"] == f"http://localhost/{link['code']}"
    assert (link["state"], link["version"], link["visits"], link["redirect_status"]) == ("active", 1, 0, 302)
    assert (link["tags"], link["private"], link["forward_query"]) == ([], False, False)
    assert {link[name] for name in ("starts_at", "expires_at", "max_visits", "title")} == {None}
    assert link["created_at"] == link["updated_at"]
    assert datetime.fromisoformat(link["created_at"]).utcoffset() == timedelta(0)
    assert (await service.http.get(response.headers["location"])).json() == link


async def test_every_member_is_kept(service: Served) -> None:
    """What the caller chose is what comes back, times in UTC."""
    begin = datetime.now(UTC).replace(microsecond=5) + timedelta(days=1)
    there = begin.isoformat()[:-6]
    link = await service.create(
        "https://bücher.example/ä",
        code="My_Code-1",
        starts_at=f"{there}+02:00",
        expires_at=(begin + timedelta(days=9)).isoformat(),
        max_visits=7,
        redirect_status=308,
        forward_query=True,
        tags=[" sale ", "spring"],
        title="Books",
    )
    assert link["code"] == "My_Code-1"
    assert link["url"] == "https://xn--bcher-kva.example/%C3%A4"
    assert link["display_url"] == "https://bücher.example/%C3%A4"
    assert datetime.fromisoformat(link["starts_at"]) == begin - timedelta(hours=2)
    assert link["starts_at"].endswith("Z")
    assert (link["max_visits"], link["redirect_status"], link["forward_query"]) == (7, 308, True)
    assert (link["tags"], link["title"], link["state"]) == (["sale", "spring"], "Books", "scheduled")
    assert await service.read("My_Code-1") == link


async def test_null_takes_the_default(service: Served) -> None:
    """Of every member but the URL, as in a patch."""
    members = ("code", "starts_at", "expires_at", "max_visits", "redirect_status", "forward_query")
    nothing: dict[str, Any] = dict.fromkeys((*members, "tags", "title", "private", "reuse"))
    link = await service.create("https://example.com/", **nothing)
    plain = await service.create()
    own = {"code", "short_url", "created_at", "updated_at"}
    assert {name: link[name] for name in link.keys() - own} == {name: plain[name] for name in plain.keys() - own}
    assert (link["forward_query"], link["tags"], link["private"], len(link["code"])) == (False, [], False, 7)
    assert link["code"] != plain["code"]


async def test_private_links_cannot_be_guessed(service: Served) -> None:
    """A private link has 12 random characters, and no custom code."""
    codes = {(await service.create(private=True))["code"] for _ in range(20)}
    assert len(codes) == 20
    assert all(re.fullmatch("[0-9A-Za-z]{12}", code) for code in codes)
    refused = await service.http.post("/v1/links", json={"url": "https://a.example", "private": True, "code": "mine"})
    assert pointers(problem_in(refused, 422, "invalid-link")) == ["/code"]


async def test_a_custom_code_is_given_once(service: Served) -> None:
    """A taken code answers 409, in its own case only, and a deleted one stays taken."""
    await service.create(code="Spring")
    refused = await service.http.post("/v1/links", json={"url": "https://other.example", "code": "Spring"})
    assert "'Spring'" in problem_in(refused, 409, "code-taken")["detail"]
    await service.create(code="spring")
    assert (await service.http.delete("/v1/links/Spring")).status_code == 204
    again = await service.http.post("/v1/links", json={"url": "https://other.example", "code": "Spring"})
    problem_in(again, 409, "code-taken")


@pytest.mark.parametrize("code", ["v1", "V99", "ui", "Docs", "healthz", "openapi.json", "favicon.ico", "robots.txt"])
async def test_reserved_words_are_refused(service: Served, code: str) -> None:
    """The service's own paths are never links, in whatever case."""
    refused = await service.http.post("/v1/links", json={"url": "https://a.example", "code": code})
    problem_in(refused, 409, "code-reserved")


INVALID: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no URL": ({}, ["/url"]),
    "another scheme": ({"url": "javascript:alert(1)"}, ["/url"]),
    "relative": ({"url": "example.com"}, ["/url"]),
    "line break": ({"url": "https://a.example/\r\nSet-Cookie: x"}, ["/url"]),
    "credentials": ({"url": "https://user:pass@a.example/"}, ["/url"]),
    "our own host": ({"url": "http://LOCALHOST/abc"}, ["/url"]),
    "too long": ({"url": "https://a.example/" + "x" * 8192}, ["/url"]),
    "type": ({"url": 5}, ["/url"]),
    "unknown member": ({"url": "https://a.example", "Url": ""}, ["/Url"]),
    "escaped pointer": ({"url": "https://a.example", "a/b~": ""}, ["/a~1b~0"]),
    "time without offset": ({"url": "https://a.example", "starts_at": "2030-01-01T00:00:00"}, ["/starts_at"]),
    "past": ({"url": "https://a.example", "expires_at": "1999-01-01T00:00:00Z"}, ["/expires_at"]),
    "several at once": (
        {"url": "ftp://a", "redirect_status": 303, "tags": ["a", ""], "title": "a\nb", "code": "a"},
        ["/url", "/code", "/redirect_status", "/tags/1", "/title"],
    ),
    "no visits": ({"url": "https://a.example", "max_visits": 0}, ["/max_visits"]),
    "tag type": ({"url": "https://a.example", "tags": ["a", 5]}, ["/tags/1"]),
    "repeated tag": ({"url": "https://a.example", "tags": ["a", "a "]}, ["/tags/1"]),
}


@pytest.mark.parametrize("name", INVALID)
async def test_what_is_invalid_is_named(service: Served, name: str) -> None:
    """422 points at every member that breaks a rule, and nothing is made."""
    members, expected = INVALID[name]
    problem = problem_in(await service.http.post("/v1/links", json=members), 422, "invalid-link")
    assert pointers(problem) == expected
    assert (await service.http.get("/v1/links")).json()["items"] == []


async def test_short_urls_begin_with_the_base_url(opened: Opened) -> None:
    """With `base_url` any Host may ask, and neither the base nor the host asked may be a target."""
    async with opened(links={"base_url": "https://exa.mp/go/"}) as service:
        response = await service.http.post(
            "/v1/links", json={"url": "https://a.example"}, headers={"host": "evil.test"}
        )
        assert response.status_code == 201
        assert response.json()["short_url"] == f"https://exa.mp/go/{response.json()['code']}"
        refused = await service.http.post("/v1/links", json={"url": "https://exa.mp/go/abc"})
        assert pointers(problem_in(refused, 422)) == ["/url"]


async def test_the_own_port_is_refused_too(service: Served) -> None:
    """A link back to the very host and port that the request came to would be a loop."""
    headers = {"host": "127.0.0.1:9123"}
    refused = await service.http.post("/v1/links", json={"url": "http://127.0.0.1:9123/x"}, headers=headers)
    assert pointers(problem_in(refused, 422)) == ["/url"]
    made = await service.http.post("/v1/links", json={"url": "http://127.0.0.1:9124/x"}, headers=headers)
    assert made.json()["short_url"].startswith("http://127.0.0.1:9123/")


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "localhost:99999", "localhost:x", ""])
@pytest.mark.parametrize("call", ["create", "list", "read", "patch", "disable"])
async def test_a_foreign_host_is_refused(service: Served, call: str, host: str) -> None:
    """Without `base_url` a Host that is not ours answers 400 before anything is read or changed."""
    await service.create(code="here")
    before = await service.read("here")
    headers = {"host": host}
    match call:
        case "create":
            response = await service.http.post("/v1/links", json={"url": "https://a.example"}, headers=headers)
        case "list":
            response = await service.http.get("/v1/links", headers=headers)
        case "read":
            response = await service.http.get("/v1/links/here", headers=headers)
        case "patch":
            response = await service.http.patch("/v1/links/here", json={"title": "x"}, headers=headers)
        case _:
            response = await service.http.post("/v1/links/here/disable", headers=headers)
    assert "allowed_hosts" in problem_in(response, 400)["detail"]
    assert await service.read("here") == before
    assert len((await service.http.get("/v1/links")).json()["items"]) == 1
