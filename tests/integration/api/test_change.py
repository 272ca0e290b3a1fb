from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api.served import pointers, problem_in

if TYPE_CHECKING:
    from tests.integration.api.served import Served

FAR = "2999-01-01T00:00:00Z"


async def test_a_patch_changes_what_it_names(service: Served) -> None:
    """A merge patch moves the version, the ETag and the redirect; members left out stay."""
    link = await service.create(code="abc", title="old", tags=["a"])
    response = await service.http.patch("/v1/links/abc", json={"url": "https://new.example", "title": "new"})
    assert response.status_code == 200
    assert response.headers["etag"] == '"2"'
    changed = response.json()
    assert changed == {
        **link,
        "url": "https://new.example/",
        "display_url": "https://new.example/",
        "title": "new",
        "version": 2,
        "updated_at": changed["updated_at"],
    }
    assert changed["updated_at"] > link["updated_at"]
    assert (await service.http.get("/abc")).headers["location"] == "https://new.example/"


async def test_null_takes_the_default(service: Served) -> None:
    """RFC 7396: null removes a member, which leaves its default."""
    plain = await service.create(code="plain")
    await service.create(
        code="abc",
        starts_at="2998-01-01T00:00:00Z",
        expires_at=FAR,
        max_visits=3,
        redirect_status=308,
        forward_query=True,
        tags=["a"],
        title="t",
    )
    names = ("starts_at", "expires_at", "max_visits", "redirect_status", "forward_query", "tags", "title")
    response = await service.http.patch(
        "/v1/links/abc",
        content=b"{%s}" % b",".join(b'"%s":null' % name.encode() for name in names),
        headers={"content-type": "application/merge-patch+json; charset=utf-8"},
    )
    assert response.status_code == 200
    assert {name: response.json()[name] for name in names} == {name: plain[name] for name in names}
    assert response.json()["state"] == "active"


async def test_a_patch_that_changes_nothing_keeps_the_version(service: Served) -> None:
    """The same values, or none, are no new version."""
    await service.create(code="abc", title="t")
    for patch in ({}, {"title": "t"}, {"url": "https://example.com/", "tags": None}):
        response = await service.http.patch("/v1/links/abc", json=patch)
        assert (response.status_code, response.headers["etag"]) == (200, '"1"')


@pytest.mark.parametrize(
    ("patch", "where"),
    [
        ({"url": None}, ["/url"]),
        ({"url": "ftp://x"}, ["/url"]),
        ({"url": "x", "title": "a" * 300 + "\n"}, ["/url", "/title", "/title"]),
        ({"code": "other"}, ["/code"]),
        ({"private": True}, ["/private"]),
        ({"starts_at": FAR, "expires_at": "2998-01-01T00:00:00Z"}, ["/expires_at"]),
        ({"redirect_status": 200}, ["/redirect_status"]),
        ({"max_visits": 2**53 + 1}, ["/max_visits"]),
        ([], [""]),
    ],
)
async def test_an_invalid_patch_changes_nothing(service: Served, patch: Any, where: list[str]) -> None:
    """422 names the members, and the link stays as it was."""
    if patch == {"url": "x", "title": "a" * 300 + "\n"}:
        where = ["/title"]  # too long is seen first, while decoding
    link = await service.create(code="abc")
    problem = problem_in(await service.http.patch("/v1/links/abc", json=patch), 422, "invalid-link")
    assert pointers(problem) == where
    assert await service.read("abc") == link


@pytest.mark.parametrize("tags", ['"1"', "*", '"7", "1"', ' "1" '])
@pytest.mark.parametrize("call", ["PATCH", "DELETE", "disable"])
async def test_if_match_lets_the_named_version_pass(service: Served, call: str, tags: str) -> None:
    """If-Match takes a list, and `*` is any version."""
    await service.create(code="abc")
    response = await change(service, call, {"if-match": tags})
    assert response.status_code == (204 if call == "DELETE" else 200)


@pytest.mark.parametrize("tags", ['"2"', 'W/"1"', '"01"', '"x"', "1", '""', "", '"99999999999999999999"'])
@pytest.mark.parametrize("call", ["PATCH", "DELETE", "disable"])
async def test_if_match_refuses_another_version(service: Served, call: str, tags: str) -> None:
    """412 with the ETag that the link stands at; a weak tag matches nothing (RFC 9110, 13.1.1)."""
    link = await service.create(code="abc")
    response = await change(service, call, {"if-match": tags})
    problem = problem_in(response, 412, "version-mismatch")
    assert response.headers["etag"] == '"1"'
    assert 'stands at, "1".' in problem["detail"]
    assert "in quotes, without W/" in problem["detail"]
    assert await service.read("abc") == link


async def change(service: Served, call: str, headers: dict[str, str]) -> Any:
    """Change the link `abc` in one of the ways there are."""
    if call == "PATCH":
        return await service.http.patch("/v1/links/abc", json={"title": "x"}, headers=headers)
    if call == "DELETE":
        return await service.http.delete("/v1/links/abc", headers=headers)
    return await service.http.post("/v1/links/abc/disable", headers=headers)


async def test_of_two_with_one_etag_one_wins(service: Served) -> None:
    """Concurrent changes of the same version: one happens, the others answer 412."""
    await service.create(code="abc")
    answers = await asyncio.gather(
        *[
            service.http.patch("/v1/links/abc", json={"title": str(place)}, headers={"if-match": '"1"'})
            for place in range(8)
        ]
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    winner = next(answer for answer in answers if answer.status_code == 200)
    assert (await service.read("abc"))["title"] == winner.json()["title"]


async def test_without_if_match_concurrent_changes_all_happen(service: Served) -> None:
    """Patches of different members are each decided anew on what the others left."""
    await service.create(code="abc")
    patches: list[dict[str, Any]] = [{"title": "t"}, {"tags": ["x"]}, {"forward_query": True}]
    answers = await asyncio.gather(*[service.http.patch("/v1/links/abc", json=patch) for patch in patches])
    assert [answer.status_code for answer in answers] == [200] * 3
    link = await service.read("abc")
    assert (link["title"], link["tags"], link["forward_query"], link["version"]) == ("t", ["x"], True, 4)


async def test_many_changes_of_one_link_all_happen(service: Served) -> None:
    """Those of one process are made one after the other, so none of them is refused for the others."""
    await service.create(code="abc")
    patches = [service.http.patch("/v1/links/abc", json={"title": str(place)}) for place in range(40)]
    moves = [service.http.post(f"/v1/links/abc/{move}") for move in ("disable", "enable") * 5]
    answers = await asyncio.gather(*patches, *moves)
    assert {answer.status_code for answer in answers[:40]} == {200}
    assert {answer.status_code for answer in answers[40:]} <= {200, 409}  # a disabled link cannot be disabled again
    assert (await service.read("abc"))["version"] == 1 + [answer.status_code for answer in answers].count(200)


async def test_disable_and_enable(service: Served) -> None:
    """A disabled link answers 410 until it is enabled; doing either twice is 409 and names the state."""
    await service.create(code="abc")
    assert (await service.http.post("/v1/links/abc/disable")).json()["state"] == "disabled"
    problem_in(await service.http.get("/abc"), 410, "link-gone")
    assert "disabled" in problem_in(await service.http.post("/v1/links/abc/disable"), 409, "not-allowed")["detail"]
    enabled = await service.http.post("/v1/links/abc/enable")
    assert (enabled.status_code, enabled.headers["etag"], enabled.json()["state"]) == (200, '"3"', "active")
    assert await service.follow("abc") == 302
    problem_in(await service.http.post("/v1/links/abc/enable"), 409, "not-allowed")


async def test_a_deleted_link_is_gone(service: Served) -> None:
    """204, then 404 on every management route, 410 on the redirect, and only `state=deleted` lists it."""
    await service.create(code="abc")
    response = await service.http.delete("/v1/links/abc")
    assert (response.status_code, response.content) == (204, b"")
    problem_in(await service.http.get("/abc"), 410, "link-gone")
    for method, path in (
        ("GET", "/v1/links/abc"),
        ("PATCH", "/v1/links/abc"),
        ("DELETE", "/v1/links/abc"),
        ("POST", "/v1/links/abc/disable"),
        ("POST", "/v1/links/abc/enable"),
    ):
        problem = problem_in(await service.http.request(method, path, json={}), 404, "unknown-link")
        assert problem["detail"].startswith("This link was deleted. POST /v1/links/abc/restore takes that back;")
    assert (await service.http.get("/v1/links")).json()["items"] == []
    (item,) = (await service.http.get("/v1/links?state=deleted")).json()["items"]
    assert (item["code"], item["state"]) == ("abc", "deleted")


@pytest.mark.parametrize("code", ["nothere", "ab", "x" * 65, "a%00bc", "%F0%9F%98%80abc", "a.b.c", "batch"])
async def test_an_unknown_code_is_404(service: Served, code: str) -> None:
    """Whatever stands in the path, a link that is not there answers 404."""
    problem = problem_in(await service.http.get(f"/v1/links/{code}"), 404, "unknown-link")
    assert problem["detail"] == "No link has this code."
    problem_in(await service.http.patch(f"/v1/links/{code}", json={}), 404, "unknown-link")
    problem_in(await service.http.post(f"/v1/links/{code}/enable"), 404, "unknown-link")


async def test_a_new_limit_counts_from_the_change(service: Served) -> None:
    """A limit that was taken off and set again allows what it says, however many visits the first one had left."""
    await service.create(code="abc", max_visits=10)
    for limit in (None, 2):
        assert (await service.http.patch("/v1/links/abc", json={"max_visits": limit})).status_code == 200
    assert [await service.follow("abc") for _ in range(3)] == [302, 302, 410]


async def test_a_changed_limit_keeps_what_was_used(service: Served) -> None:
    """Raising a limit adds the difference, lowering it below the visits made exhausts the link."""
    await service.create(code="abc", max_visits=3)
    assert [await service.follow("abc") for _ in range(2)] == [302, 302]
    await service.http.patch("/v1/links/abc", json={"max_visits": 4})
    assert [await service.follow("abc") for _ in range(3)] == [302, 302, 410]
    assert (await service.read("abc"))["state"] == "exhausted"
    await service.http.patch("/v1/links/abc", json={"max_visits": 9})
    assert await service.follow("abc") == 302
    lowered = await service.http.patch("/v1/links/abc", json={"max_visits": 1})
    assert lowered.json()["state"] == "exhausted"
    assert await service.follow("abc") == 410
