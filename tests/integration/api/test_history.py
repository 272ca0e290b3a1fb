"""`GET /v1/links/{code}/history` and `POST /v1/links/{code}/restore`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.testing import FakeClock
from tests.integration.api.served import problem_in, until
from tests.integration.api.test_times import NOW, at

if TYPE_CHECKING:
    from tests.integration.api.served import Served
    from tests.integration.api.test_times import Opened

SECRET = "https://joe:hunter2@example.com/?token=hunter2"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock(time=NOW)


async def history(service: Served, code: str = "abc", **query: Any) -> dict[str, Any]:
    """Read one page."""
    response = await service.http.get(f"/v1/links/{code}/history", params=query)
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    page: dict[str, Any] = response.json()
    return page


async def events(service: Served, code: str = "abc") -> list[str]:
    """Return what happened to a link."""
    return [entry["event"] for entry in (await history(service, code))["items"]]


async def test_a_new_link_was_made(service: Served) -> None:
    """Its history is one entry, which nobody has stored."""
    link = await service.create(code="abc")
    assert await history(service) == {
        "items": [
            {
                "number": 1, "event": "made", "at": link["created_at"], "by": "anonymous", "reason": None,
                "before": None, "state": "active", "members": [],
            }
        ],
        "next_after": None,
    }  # fmt: skip


async def test_every_change_says_who_when_what_and_why(opened: Opened, clock: FakeClock) -> None:
    """Edited with which members, switched off and on, deleted and restored, each with its states and its reason."""
    async with opened(clock=clock) as service:
        await service.create(code="abc", starts_at=at(100))
        calls: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("PATCH", "", {"json": {"title": "t", "starts_at": None, "tags": []}}),
            ("POST", "/disable", {}),
            ("POST", "/enable", {}),
            ("DELETE", "", {}),
            ("POST", "/restore", {}),
        )
        for number, (method, path, options) in enumerate(calls):
            clock.advance(1)
            headers = {b"x-reason": f"Grund {number}: ü".encode()}
            response = await service.http.request(method, f"/v1/links/abc{path}", headers=headers, **options)
            assert response.status_code in {200, 204}, response.text
        items = (await history(service))["items"]
        assert [
            (entry["event"], entry["before"], entry["state"], entry["reason"], entry["members"]) for entry in items
        ] == [
            ("made", None, "scheduled", None, []),
            ("edited", "scheduled", "active", "Grund 0: ü", ["starts_at", "title"]),
            ("disabled", "active", "disabled", "Grund 1: ü", []),
            ("enabled", "disabled", "active", "Grund 2: ü", []),
            ("deleted", "active", "deleted", "Grund 3: ü", []),
            ("restored", "deleted", "active", "Grund 4: ü", []),
        ]
        assert [entry["number"] for entry in items] == [1, 2, 3, 4, 5, 6]
        assert {entry["by"] for entry in items} == {"anonymous"}
        assert [entry["at"] for entry in items][:3] == [
            "2023-11-14T22:13:20Z", "2023-11-14T22:13:21Z", "2023-11-14T22:13:22Z",
        ]  # fmt: skip


async def test_what_changed_nothing_did_not_happen(service: Served) -> None:
    """Refused changes, and a patch with the values that are there, leave no entry."""
    await service.create(code="abc", title="t")
    await service.http.patch("/v1/links/abc", json={"title": "t"})
    await service.http.patch("/v1/links/abc", json={"url": "ftp://x"})
    await service.http.post("/v1/links/abc/enable")
    await service.http.post("/v1/links/abc/restore")
    await service.http.delete("/v1/links/abc", headers={"if-match": '"7"'})
    assert await events(service) == ["made"]


async def test_a_history_is_read_in_pages(service: Served) -> None:
    """`after` and `limit` cut it, `next_after` leads on, and the last page has none."""
    await service.create(code="abc")
    for number in range(5):
        await service.http.patch("/v1/links/abc", json={"title": str(number)})
    numbers: list[list[int]] = []
    after: int | None = 0
    while after is not None:
        page = await history(service, after=after, limit=2)
        numbers.append([entry["number"] for entry in page["items"]])
        after = page["next_after"]
    assert numbers == [[1, 2], [3, 4], [5, 6]]
    assert await history(service, after=6) == {"items": [], "next_after": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "after=-1", "after=1.5", f"after={2**53 + 1}"])
async def test_a_page_that_cannot_be_is_422(service: Served, query: str) -> None:
    """Numbers out of range are named."""
    await service.create(code="abc")
    name = query.partition("=")[0]
    assert problem_in(await service.http.get(f"/v1/links/abc/history?{query}"), 422)["detail"].startswith(name)


@pytest.mark.parametrize("code", ["nothere", "ab", "x" * 65, "a%00bc", "%F0%9F%98%80abc"])
async def test_an_unknown_link_has_no_history_and_cannot_be_restored(service: Served, code: str) -> None:
    """Whatever stands in the path: 404."""
    problem_in(await service.http.get(f"/v1/links/{code}/history"), 404, "unknown-link")
    problem_in(await service.http.post(f"/v1/links/{code}/restore"), 404, "unknown-link")


async def test_a_deleted_link_has_its_history(service: Served) -> None:
    """It is gone everywhere else."""
    await service.create(code="abc")
    await service.http.delete("/v1/links/abc")
    problem_in(await service.http.get("/v1/links/abc"), 404, "unknown-link")
    assert await events(service) == ["made", "deleted"]


async def test_a_restored_link_is_what_it_was(service: Served) -> None:
    """The code leads where it led, and the link is listed again; its version goes on."""
    made = await service.create(code="abc", title="t", tags=["x"])
    await service.http.delete("/v1/links/abc")
    assert await service.follow("abc") == 410
    restored = await service.http.post("/v1/links/abc/restore")
    assert (restored.status_code, restored.headers["etag"]) == (200, '"3"')
    assert restored.json() == {**made, "version": 3, "updated_at": restored.json()["updated_at"]}
    assert await service.follow("abc") == 302
    (item,) = (await service.http.get("/v1/links", params={"tag": "x"})).json()["items"]
    assert item["code"] == "abc"


async def test_only_a_deleted_link_is_restored(service: Served) -> None:
    """Anything else is 409, and says the state."""
    await service.create(code="abc")
    problem = problem_in(await service.http.post("/v1/links/abc/restore"), 409, "not-allowed")
    assert "link is active" in problem["detail"]
    await service.http.post("/v1/links/abc/disable")
    problem = problem_in(await service.http.post("/v1/links/abc/restore"), 409, "not-allowed")
    assert "link is disabled" in problem["detail"]


async def test_the_code_of_a_deleted_link_stays_its_own(service: Served) -> None:
    """Nobody else is given it, so it can always come back."""
    await service.create(code="abc")
    await service.http.delete("/v1/links/abc")
    taken = await service.http.post("/v1/links", json={"url": "https://other.example/", "code": "abc"})
    problem_in(taken, 409, "code-taken")
    assert (await service.http.post("/v1/links/abc/restore")).json()["url"] == "https://example.com/"


async def test_a_restored_link_stands_where_its_times_put_it(opened: Opened, clock: FakeClock) -> None:
    """Scheduled, active or expired, disabled before or not; used up where nothing is left."""
    async with opened(clock=clock) as service:
        for seconds, state in ((0, "scheduled"), (10, "active"), (20, "expired")):
            code = f"at-{seconds}"
            await service.create(code=code, starts_at=at(10), expires_at=at(20))
            await service.http.post(f"/v1/links/{code}/disable")
            await service.http.delete(f"/v1/links/{code}")
            clock.advance(NOW + seconds - clock.time())
            assert (await service.http.post(f"/v1/links/{code}/restore")).json()["state"] == state
            clock.step(-seconds)
        await service.create(code="used", max_visits=1)
        assert await service.follow("used") == 302
        await service.http.delete("/v1/links/used")
        assert (await service.http.post("/v1/links/used/restore")).json()["state"] == "exhausted"
        assert await service.follow("used") == 410


async def test_if_match_holds_for_a_restoration(service: Served) -> None:
    """412 for another version, as for every change."""
    await service.create(code="abc")
    await service.http.delete("/v1/links/abc")
    refused = await service.http.post("/v1/links/abc/restore", headers={"if-match": '"1"'})
    problem_in(refused, 412, "version-mismatch")
    assert (await service.http.post("/v1/links/abc/restore", headers={"if-match": '"2"'})).status_code == 200


async def test_a_history_holds_no_secret(opened: Opened) -> None:
    """An edit tells the names of what it changed, and never a URL, which may hold a password."""
    async with opened(links={"allow_credentials": True}) as service:
        await service.create(code="abc", url=SECRET)
        for url in (SECRET + "2", "https://example.com/"):
            assert (await service.http.patch("/v1/links/abc", json={"url": url})).status_code == 200
        page = await service.http.get("/v1/links/abc/history")
        assert [entry["members"] for entry in page.json()["items"]] == [[], ["url"], ["url"]]
        assert "hunter2" not in page.text


@pytest.mark.parametrize("reason", [b"", b"x" * 301, b"\xff\xfe", "a\u200bb".encode()])
async def test_a_reason_that_cannot_be_kept_is_400(service: Served, reason: bytes) -> None:
    """Empty, too long, not UTF-8, or not printable; nothing is changed."""
    await service.create(code="abc")
    for method, path in (("POST", "/disable"), ("DELETE", ""), ("POST", "/restore")):
        response = await service.http.request(method, f"/v1/links/abc{path}", headers={b"x-reason": reason})
        assert "X-Reason" in problem_in(response, 400)["detail"]
    patched = await service.http.patch("/v1/links/abc", json={"title": "t"}, headers={b"x-reason": reason})
    problem_in(patched, 400)
    assert await events(service) == ["made"]


async def test_start_and_expiry_come_before_what_meets_them(opened: Opened, clock: FakeClock) -> None:
    """Whoever comes next records what time has done, at its own moment, in one commit with the change."""
    async with opened(clock=clock) as service:
        await service.create(code="abc", starts_at=at(10), expires_at=at(20))
        clock.step(25)  # without a chance for whatever runs beside
        assert (await service.http.post("/v1/links/abc/disable")).headers["etag"] == '"2"'
        items = (await history(service))["items"]
        assert [(entry["event"], entry["by"], entry["at"][-3:]) for entry in items] == [
            ("made", "anonymous", "20Z"), ("started", "timer", "30Z"), ("expired", "timer", "40Z"),
            ("disabled", "anonymous", "45Z"),
        ]  # fmt: skip


async def test_the_leader_records_what_time_does(opened: Opened, clock: FakeClock) -> None:
    """Nobody asks: the history tells it all the same; the version is the one that callers know, and ETags stay good."""
    async with opened(clock=clock) as service:
        await service.create(code="abc", starts_at=at(10), expires_at=at(20))
        await passes(clock, 12)
        await until(lambda: happened(service, clock, ["made", "started"]))
        await passes(clock, 12)
        await until(lambda: happened(service, clock, ["made", "started", "expired"]))
        assert (await service.read("abc"))["version"] == 1
        patched = await service.http.patch("/v1/links/abc", json={"expires_at": None}, headers={"if-match": '"1"'})
        assert (patched.status_code, patched.headers["etag"], patched.json()["state"]) == (200, '"2"', "active")
        assert await events(service) == ["made", "started", "expired", "edited"]


async def passes(clock: FakeClock, seconds: int) -> None:
    """Let time pass second by second, so that whatever sleeps in turns wakes in each."""
    for _ in range(seconds):
        clock.advance(1)
        await asyncio.sleep(0.005)


async def happened(service: Served, clock: FakeClock, expected: list[str]) -> bool:
    """Whether just that happened by now; the sweeper's next look comes with the clock."""
    clock.advance(0.1)
    return await events(service) == expected
