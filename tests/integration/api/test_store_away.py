from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from app.clicks import VISITS
from app.service import IDEMPOTENCY
from astra_core.storage.writes import Add
from tests.integration.api.assembled import assemble
from tests.integration.api.served import problem_in, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from tests.integration.api.assembled import Assembled

WRITES: list[tuple[str, str, object]] = [
    ("POST", "/v1/links", {"url": "https://a.example"}),
    ("POST", "/v1/links", {"url": "https://a.example", "code": "mine", "reuse": True}),
    ("POST", "/v1/links/batch", {"links": [{"url": "https://a.example"}, {"url": "ftp://a"}]}),
    ("PATCH", "/v1/links/known", {"title": "t"}),
    ("POST", "/v1/links/known/disable", {}),
    ("DELETE", "/v1/links/known", {}),
]
READS: list[tuple[str, str, object]] = [
    ("GET", "/v1/links", {}),
    ("GET", "/v1/links/known", {}),
    ("GET", "/v1/links/nothere", {}),
]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Assembled]:
    """The application over a store that fails on demand, with a link in its cache and one beside it."""
    async with assemble(tmp_path) as assembled:
        await assembled.create(code="known")
        await assembled.create(code="other")
        assert await assembled.follow("known") == 302
        yield assembled


def unavailable(response: httpx.Response, retry_after: str) -> None:
    """Check for a 503 that says when to come again and nothing of the store's insides."""
    problem = problem_in(response, 503, "store-unavailable")
    assert response.headers["retry-after"] == retry_after
    assert "away" not in problem["detail"]


async def test_known_links_go_on_redirecting(service: Assembled) -> None:
    """With the store away and the changes feed silent, what was known is answered, and the rest is 503, never 404."""
    service.store.away = True
    assert await service.follow("known") == 302
    service.resolver.feed_is_healthy(False)
    service.clock.advance(60)
    service.resolver.feed_is_healthy(False)
    assert [await service.follow("known") for _ in range(3)] == [302] * 3
    assert service.resolver.stale > 0
    for code in ("other", "nothere"):
        unavailable(await service.http.get(f"/{code}"), "8")
    service.store.away = False
    service.clock.advance(2)
    service.resolver.feed_is_healthy(True)
    assert [await service.follow(code) for code in ("known", "other", "nothere")] == [302, 302, 404]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_what_was_committed_is_answered_as_done(service: Assembled, method: str, path: str, body: object) -> None:
    """Though the store is away from the moment of the commit on; a link that was changed is shown with its visits."""
    await service.store.commit([Add(counters=VISITS, amounts={"known": 3})])
    await service.create()  # so that codes are at hand: to fetch them is a commit of its own
    service.store.going = True
    response = await service.http.request(method, path, json=body)
    assert service.store.away
    assert response.status_code in {200, 201, 204}, response.text
    if path.startswith("/v1/links/known") and method != "DELETE":
        assert response.json()["visits"] == 3


async def test_times_decide_on_stale_answers_too(service: Assembled) -> None:
    """A link that expires while the store is away answers 410."""
    await service.create(code="timed", expires_at="2023-11-14T22:13:30Z")
    assert await service.follow("timed") == 302
    service.store.away = True
    service.clock.advance(60)
    service.resolver.feed_is_healthy(False)
    problem_in(await service.http.get("/timed"), 410, "link-gone")


async def test_a_limited_link_needs_the_store(service: Assembled) -> None:
    """A visit that cannot be taken from the limit is not given away."""
    await service.create(code="few", max_visits=2)
    assert await service.follow("few") == 302
    service.store.away = True
    unavailable(await service.http.get("/few"), "8")
    service.store.away = False
    assert [await service.follow("few") for _ in range(2)] == [302, 410]


@pytest.mark.parametrize(("method", "path", "body"), [*WRITES, *READS])
async def test_the_api_answers_503(service: Assembled, method: str, path: str, body: object) -> None:
    """Every call that needs the store says so, and when to come again."""
    service.store.away = True
    unavailable(await service.http.request(method, path, json=body), "8")


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_full_disk_changes_nothing(service: Assembled, method: str, path: str, body: object) -> None:
    """A commit that fails leaves no link, no change and no kept answer; reads and redirects go on."""
    before = (await service.http.get("/v1/links")).json()
    service.store.full = True
    headers = {"idempotency-key": "key"}
    unavailable(await service.http.request(method, path, json=body, headers=headers), "3")
    assert (await service.http.get("/v1/links")).json() == before
    assert [await service.follow(code) for code in ("known", "other", "mine")] == [302, 302, 404]
    service.store.full = False
    assert (await service.http.request(method, path, json=body, headers=headers)).status_code in {200, 201, 204}


async def test_the_answer_is_kept_in_the_commit_of_its_link(service: Assembled) -> None:
    """One commit holds link, change and kept answer; a cancelled caller leaves the key free."""
    body, headers = {"url": "https://a.example"}, {"idempotency-key": "key"}
    await service.create()  # fetches a block of codes
    service.store.commits.clear()
    service.store.gate = asyncio.Event()
    caller = asyncio.create_task(service.http.post("/v1/links", json=body, headers=headers))

    async def committing() -> bool:
        return bool(service.store.commits)

    await until(committing)
    problem_in(await service.http.post("/v1/links", json=body, headers=headers), 409, "in-progress")
    caller.cancel()
    await asyncio.wait([caller])
    service.store.gate = None
    service.store.commits.clear()
    assert (await service.http.post("/v1/links", json=body, headers=headers)).status_code == 201
    (writes,) = service.store.commits
    assert [type(write).__name__ for write in writes] == ["Insert", "Change", "Insert"]
    assert writes[2].collection == IDEMPOTENCY.name  # type: ignore[union-attr]


async def test_expired_answers_are_purged_in_small_batches(service: Assembled) -> None:
    """A purge removes at most a hundred, oldest first, nothing that still lives, and says how many went."""
    for place in range(150):
        headers = {"idempotency-key": f"key-{place}"}
        await service.http.post("/v1/links", json={"url": "https://a.example"}, headers=headers)
    service.clock.step(3_600)
    await service.http.post("/v1/links", json={"url": "https://a.example"}, headers={"idempotency-key": "later"})
    assert await service.keys.purge() == 0
    service.clock.step(86_400 - 3_599)
    assert [await service.keys.purge() for _ in range(3)] == [100, 50, 0]
    service.store.commits.clear()
    again = await service.http.post(
        "/v1/links", json={"url": "https://a.example"}, headers={"idempotency-key": "later"}
    )
    assert again.status_code == 201
    assert service.store.commits == []


@pytest.mark.parametrize(
    ("method", "path", "body"), [*WRITES, *READS, ("GET", "/other", {}), ("GET", "/unknown-one", {})]
)
async def test_a_mistake_of_ours_is_a_problem_too(
    service: Assembled, caplog: pytest.LogCaptureFixture, method: str, path: str, body: object
) -> None:
    """What nobody expected is 500 as problem+json under the id that is logged, without a word of what went wrong."""
    service.store.broken = True
    with caplog.at_level(logging.ERROR):
        response = await service.http.request(method, path, json=body)
    problem = problem_in(response, 500)
    assert "mistake of ours" not in response.text
    assert "Traceback" not in response.text
    assert any(record.exc_info for record in caplog.records)
    assert problem["request_id"] in caplog.text


async def test_no_code_is_left(tmp_path: Path) -> None:
    """With the store away a new code can be taken only while a block is at hand; an invalid link is told anyway."""
    async with assemble(tmp_path, block=1) as service:
        service.store.away = True
        unavailable(await service.http.post("/v1/links", json={"url": "https://a.example"}), "8")
        problem_in(await service.http.post("/v1/links", json={"url": "ftp://a"}), 422)


async def test_visits_come_with_a_link(service: Assembled) -> None:
    """`visits` is what the store counted."""
    await service.store.commit([Add(counters=VISITS, amounts={"known": 41})])
    assert (await service.read("known"))["visits"] == 41
