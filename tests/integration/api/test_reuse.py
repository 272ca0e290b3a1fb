from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api.served import problem_in, serve, settings_at

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.api.served import Served

LINK: dict[str, Any] = {"url": "https://example.com/", "tags": ["a"], "title": "t", "reuse": True}


async def test_an_equal_link_is_found(service: Served) -> None:
    """200 with the link that has all the same members, however it was made; no Location, nothing new."""
    made = await service.create(**{**LINK, "reuse": False})
    response = await service.http.post("/v1/links", json=LINK)
    assert (response.status_code, response.json(), response.headers["etag"]) == (200, made, '"1"')
    assert "location" not in response.headers


@pytest.mark.parametrize(
    "other",
    [
        {"url": "https://example.com/x"},
        {"tags": ["a", "b"]},
        {"title": None},
        {"max_visits": 5},
        {"redirect_status": 301},
        {"forward_query": True},
        {"expires_at": "2999-01-01T00:00:00Z"},
        {"private": True},
    ],
)
async def test_another_link_is_not_equal(service: Served, other: dict[str, Any]) -> None:
    """Any member that differs makes it another link."""
    made = await service.create(**LINK)
    response = await service.http.post("/v1/links", json={**LINK, **other})
    assert response.status_code == 201
    assert response.json()["code"] != made["code"]


async def test_concurrent_reuse_makes_one_link(service: Served) -> None:
    """Twenty at once: one link is made, all answer with it."""
    answers = await asyncio.gather(*[service.http.post("/v1/links", json=LINK) for _ in range(20)])
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["code"] for answer in answers}) == 1


async def test_concurrent_reuse_after_one_that_is_used_up_makes_one_link(service: Served) -> None:
    """Again and again: whoever is too late for the only equal link's successor answers with it."""
    link = {**LINK, "max_visits": 1}
    codes: list[str] = []
    for _ in range(3):
        answers = await asyncio.gather(*[service.http.post("/v1/links", json=link) for _ in range(20)])
        assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
        (code,) = {answer.json()["code"] for answer in answers}
        codes.append(code)
        await service.follow(code)
    assert len(set(codes)) == 3


async def test_concurrent_reuse_in_two_processes_makes_one_link(tmp_path: Path) -> None:
    """Two applications on one file agree on the link too."""
    settings = settings_at(tmp_path, "sqlite")
    async with serve(settings) as one, serve(settings) as other:
        answers = await asyncio.gather(
            *[served.http.post("/v1/links", json=LINK) for _ in range(10) for served in (one, other)]
        )
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["code"] for answer in answers}) == 1


async def test_a_custom_code_is_reused_by_its_own_link_only(service: Served) -> None:
    """With a code: 200 for that very link, 409 where it is another's, 201 beside an equal link of another code."""
    await service.create(**LINK)
    made = await service.http.post("/v1/links", json={**LINK, "code": "mine"})
    again = await service.http.post("/v1/links", json={**LINK, "code": "mine"})
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == again.json()
    problem_in(await service.http.post("/v1/links", json={**LINK, "title": "u", "code": "mine"}), 409, "code-taken")


async def test_concurrent_reuse_of_one_custom_code(service: Served) -> None:
    """The one that comes late finds the link that it asks for, not a taken code."""
    answers = await asyncio.gather(*[service.http.post("/v1/links", json={**LINK, "code": "mine"}) for _ in range(8)])
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]


@pytest.mark.parametrize("end", ["disable", "delete", "change", "exhaust"])
async def test_a_link_that_does_not_serve_is_not_reused(service: Served, end: str) -> None:
    """A disabled, deleted, changed or exhausted link is passed over, and the new one is reused from then on."""
    link = {**LINK, "max_visits": 1}
    code = (await service.create(**link))["code"]
    match end:
        case "disable":
            await service.http.post(f"/v1/links/{code}/disable")
        case "delete":
            await service.http.delete(f"/v1/links/{code}")
        case "change":
            await service.http.patch(f"/v1/links/{code}", json={"title": "other"})
        case _:
            await service.follow(code)
    answers = [await service.http.post("/v1/links", json=link) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert len({answer.json()["code"] for answer in answers} - {code}) == 1


@pytest.mark.parametrize("codes", [(None, "mine"), ("mine", None), ("mine", "yours"), ("mine", None, "yours")])
async def test_equal_links_of_one_batch_under_several_codes(service: Served, codes: tuple[str | None, ...]) -> None:
    """A batch that asks for equal links under codes and under none is answered, each code with its own link."""
    links = [{**LINK, "code": code} for code in codes]
    first, again = [(await service.http.post("/v1/links/batch", json={"links": links})).json() for _ in range(2)]
    assert [one["status"] for one in first["results"]] == [201] * len(codes)
    assert [one["status"] for one in again["results"]] == [200] * len(codes)
    for code, one in zip(codes, again["results"], strict=True):
        assert code is None or one["link"]["code"] == code
