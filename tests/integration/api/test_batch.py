from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api.served import pointers, problem_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.integration.api.served import Served

    Opened = Callable[..., AbstractAsyncContextManager[Served]]


async def batch(service: Served, links: list[Any], **options: Any) -> list[dict[str, Any]]:
    """Results of a batch that is answered."""
    response = await service.http.post("/v1/links/batch", json={"links": links}, **options)
    assert response.status_code == 200, response.text
    assert set(response.json()) == {"results"}
    results: list[dict[str, Any]] = response.json()["results"]
    assert len(results) == len(links)
    return results


async def test_each_link_succeeds_or_fails_alone_and_in_order(service: Served) -> None:
    """One result a link, at its place: 201, 200, 409 or 422, whatever the neighbours are."""
    await service.create("https://known.example", code="known", reuse=True)
    results = await batch(
        service,
        [
            {"url": "https://a.example", "code": "first"},
            {"url": "ftp://a.example", "max_visits": 1},
            {"url": "https://known.example", "reuse": True},
            {"url": "https://a.example", "code": "known"},
            {"url": "https://a.example", "code": "healthz"},
            5,
            {"url": "https://a.example", "private": True},
            {"url": "https://a.example", "tags": [1]},
            None,
            {"url": "https://last.example"},
        ],
    )
    assert [one["status"] for one in results] == [201, 422, 200, 409, 409, 422, 201, 422, 422, 201]
    for one in results:
        assert set(one) == {"status", "link" if one["status"] < 300 else "problem"}
        assert one["status"] < 300 or one["problem"]["status"] == one["status"]
    assert pointers(results[1]["problem"]) == ["/url"]
    assert pointers(results[7]["problem"]) == ["/tags/0"]
    assert results[2]["link"]["code"] == "known"
    assert [len(results[place]["link"]["code"]) for place in (6, 9)] == [12, 7]
    for place in (0, 6, 9):
        assert await service.read(results[place]["link"]["code"]) == results[place]["link"]
    assert len((await service.http.get("/v1/links")).json()["items"]) == 4


async def test_a_code_asked_for_twice_goes_to_the_first(service: Served) -> None:
    """Within a batch the first valid link takes a custom code; the same link with `reuse` is that link."""
    url = "https://a.example"
    results = await batch(
        service,
        [
            {"url": "ftp://a", "code": "same"},
            {"url": url, "code": "same", "reuse": True},
            {"url": url, "code": "same"},
            {"url": url, "code": "same", "reuse": True},
            {"url": "https://other.example", "code": "same", "reuse": True},
        ],
    )
    assert [one["status"] for one in results] == [422, 201, 409, 200, 409]
    assert results[1]["link"] == results[3]["link"]


async def test_reuse_within_a_batch(service: Served) -> None:
    """Equal links of one batch become one, which the later ones are answered with."""
    url = {"url": "https://a.example", "reuse": True}
    results = await batch(service, [url, {**url, "title": "x"}, url, {**url, "reuse": False}, url])
    assert [one["status"] for one in results] == [201, 201, 200, 201, 200]
    codes = [one["link"]["code"] for one in results]
    assert codes[0] == codes[2] == codes[4]
    assert len(set(codes)) == 3


async def test_a_refused_code_refuses_nobody_else(service: Served) -> None:
    """A link that would take any code is not answered with the refusal of an equal one that wanted a taken code."""
    await service.create(code="taken")
    url = {"url": "https://a.example", "reuse": True}
    results = await batch(service, [{**url, "code": "taken"}, url, url])
    assert [one["status"] for one in results] == [409, 201, 200]


async def test_a_full_batch(service: Served) -> None:
    """A thousand links are made in one commit; one more is refused as a whole."""
    links = [{"url": f"https://a.example/{place}"} for place in range(1_000)]
    results = await batch(service, links)
    assert {one["status"] for one in results} == {201}
    assert [one["link"]["url"] for one in results] == [link["url"] for link in links]
    refused = await service.http.post("/v1/links/batch", json={"links": [*links, links[0]]})
    assert pointers(problem_in(refused, 422)) == ["/links"]


@pytest.mark.parametrize("body", [{"links": []}, {"links": {}}, {"links": [{}], "more": 1}, {}, [], {"links": None}])
async def test_a_batch_that_is_none(service: Served, body: Any) -> None:
    """A batch of another shape is refused as a whole."""
    problem_in(await service.http.post("/v1/links/batch", json=body), 422)


async def test_bytes_that_are_not_text_spoil_one_link(service: Served) -> None:
    """A link that is JSON in form but not in its characters is refused alone."""
    body = b'{"links": [{"url": "https://a.example/\xff"}, {"url": "https://b.example"}]}'
    headers = {"content-type": "application/json"}
    response = await service.http.post("/v1/links/batch", content=body, headers=headers)
    assert [one["status"] for one in response.json()["results"]] == [400, 201]


async def test_the_limit_of_a_batch_is_a_setting(opened: Opened) -> None:
    """`links.max_batch` and `server.max_batch_body` bound it."""
    async with opened(links={"max_batch": 2}, server={"max_batch_body": 4096, "max_body": 1024}) as service:
        url = {"url": "https://a.example"}
        refused = await service.http.post("/v1/links/batch", json={"links": [url] * 3})
        assert "at most 2" in problem_in(refused, 422)["detail"]
        long = {"url": "https://a.example/" + "x" * 1500}
        assert [one["status"] for one in await batch(service, [long, long])] == [201, 201]
        refused = await service.http.post("/v1/links/batch", json={"links": [{**long, "title": "x" * 5000}]})
        problem_in(refused, 413)
        problem_in(await service.http.post("/v1/links", json=long), 413)


async def test_batches_that_race_for_the_same_links(service: Served) -> None:
    """Two batches with `reuse` of the same 300 links make each once, and both answer with the same codes."""
    links = [{"url": f"https://a.example/{place}", "reuse": True} for place in range(300)]
    first, second = await asyncio.gather(batch(service, links), batch(service, links))
    assert [one["link"]["code"] for one in first] == [one["link"]["code"] for one in second]
    assert all({one["status"], other["status"]} <= {200, 201} for one, other in zip(first, second, strict=True))
    assert sum(one["status"] == 201 for one in first + second) == 300


async def test_the_loop_is_let_go(service: Served) -> None:
    """While a full batch is read, planned, rendered and written, other work of the loop gets its turns."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    links = [{"url": f"https://a.example/{place}", "code": f"code-{place}"} for place in range(1_000)]
    await batch(service, links)
    counting.cancel()
    assert turns > 3.5 * 1_000 / 20  # four passes over the links, in slices of 20
