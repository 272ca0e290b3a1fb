from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.testing import FakeClock
from tests.integration.api.served import pointers, problem_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.integration.api.served import Served

    Opened = Callable[..., AbstractAsyncContextManager[Served]]

NOW = 1_700_000_000.0


def at(seconds: float) -> str:
    """The time so many seconds after the clock's begin, as RFC 3339."""
    return datetime.fromtimestamp(NOW + seconds, UTC).isoformat()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock(time=NOW)


async def test_start_and_expiry_decide_at_every_answer(opened: Opened, clock: FakeClock) -> None:
    """404 before the start, a redirect from it on, 410 from the expiry on, with no change made to the link."""
    async with opened(clock=clock) as service:
        await service.create(code="abc", starts_at=at(10), expires_at=at(20))
        for until, status, state in (
            (0, 404, "scheduled"),
            (9.999, 404, "scheduled"),
            (10, 302, "active"),
            (19.999, 302, "active"),
            (20, 410, "expired"),
            (1e6, 410, "expired"),
        ):
            clock.advance(NOW + until - clock.time())
            assert [await service.follow("abc", method) for method in ("GET", "HEAD", "GET")] == [status] * 3, until
            link = await service.read("abc")
            assert (link["state"], link["version"]) == (state, 1)
            listed = (await service.http.get("/v1/links", params={"state": state})).json()["items"]
            assert [item["code"] for item in listed] == ["abc"]


async def test_a_wall_clock_set_back_is_believed(opened: Opened, clock: FakeClock) -> None:
    """Times are compared with the wall clock, whatever was answered before."""
    async with opened(clock=clock) as service:
        await service.create(code="abc", expires_at=at(10))
        clock.step(11)
        assert await service.follow("abc") == 410
        clock.step(-5)
        assert await service.follow("abc") == 302


async def test_an_expired_link_can_be_prolonged(opened: Opened, clock: FakeClock) -> None:
    """A patch may move the expiry of an expired link, and an expiry in the past ends a link now."""
    async with opened(clock=clock) as service:
        await service.create(code="abc", expires_at=at(10))
        clock.advance(10)
        assert await service.follow("abc") == 410
        await service.http.patch("/v1/links/abc", json={"expires_at": at(30)})
        assert await service.follow("abc") == 302
        response = await service.http.patch("/v1/links/abc", json={"expires_at": at(5)})
        assert response.json()["state"] == "expired"
        assert await service.follow("abc") == 410


async def test_an_expiry_must_lie_ahead(opened: Opened, clock: FakeClock) -> None:
    """A new link cannot be expired already; this very moment is too late."""
    async with opened(clock=clock) as service:
        for seconds in (-1, 0):
            body = {"url": "https://a.example", "expires_at": at(seconds)}
            refused = await service.http.post("/v1/links", json=body)
            assert pointers(problem_in(refused, 422)) == ["/expires_at"]


async def test_the_version_and_times_of_a_change(opened: Opened, clock: FakeClock) -> None:
    """`created_at` stays, `updated_at` is the time of the last change."""
    async with opened(clock=clock) as service:
        link = await service.create(code="abc")
        clock.advance(1.5)
        changed = (await service.http.patch("/v1/links/abc", json={"title": "t"})).json()
        assert link["created_at"] == changed["created_at"] == "2023-11-14T22:13:20Z"
        assert changed["updated_at"] == "2023-11-14T22:13:21.500000Z"
        clock.advance(1)
        enabled = (await service.http.post("/v1/links/abc/disable")).json()
        assert enabled["updated_at"] == "2023-11-14T22:13:22.500000Z"


async def test_browsers_may_keep_a_redirect_but_not_past_its_end(opened: Opened, clock: FakeClock) -> None:
    """`cache.max_age` is cut at `expires_at`; a counted-down link and a refusal are never kept."""
    async with opened(clock=clock, cache={"max_age": 60.0}) as service:
        await service.create(code="plain")
        await service.create(code="timed", expires_at=at(100))
        await service.create(code="limited", max_visits=9)
        await service.create(code="query", forward_query=True)

        async def kept(code: str, method: str = "GET") -> str:
            return str((await service.http.request(method, f"/{code}")).headers["cache-control"])

        for method in ("GET", "GET", "HEAD"):
            assert await kept("plain", method) == "private, max-age=60"
        assert await kept("query") == "private, max-age=60"
        assert await kept("limited") == "private, no-store"
        assert await kept("nothere") == "no-store"
        found: dict[float, Any] = {}
        for seconds in (0, 40, 40.5, 98.9, 99.5, 100):
            clock.advance(NOW + seconds - clock.time())
            found[seconds] = await kept("timed")
        assert found == {
            0: "private, max-age=60",
            40: "private, max-age=60",
            40.5: "private, max-age=59",
            98.9: "private, max-age=1",
            99.5: "private, no-store",
            100: "no-store",
        }
