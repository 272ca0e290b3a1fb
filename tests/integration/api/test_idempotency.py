from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.testing import FakeClock
from tests.integration.api.served import problem_in, serve, settings_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import httpx

    from tests.integration.api.served import Served

    Opened = Callable[..., AbstractAsyncContextManager[Served]]

LINK = b'{"url": "https://a.example"}'
BATCH = b'{"links": [{"url": "https://a.example"}, {"url": "ftp://a"}, {"url": "https://b.example", "code": "b-b"}]}'
CALLS = [("/v1/links", LINK, 201), ("/v1/links/batch", BATCH, 200)]


async def post(service: Served, body: bytes, key: Any, path: str = "/v1/links") -> httpx.Response:
    """POST under an idempotency key."""
    headers: Any = [("content-type", "application/json"), ("idempotency-key", key)]
    return await service.http.post(path, content=body, headers=headers)


async def links(service: Served) -> int:
    """How many links there are."""
    return len((await service.http.get("/v1/links?limit=200")).json()["items"])


@pytest.mark.parametrize(("path", "body", "status"), CALLS)
async def test_a_repeated_request_has_the_first_answer(service: Served, path: str, body: bytes, status: int) -> None:
    """Status, headers and body come back byte for byte but for the request's id, and nothing is made twice."""
    first = await post(service, body, "key", path)
    assert first.status_code == status
    made = await links(service)
    code = (first.json() if status == 201 else first.json()["results"][0]["link"])["code"]
    assert (await service.http.patch(f"/v1/links/{code}", json={"title": "later"})).status_code == 200
    for _ in range(2):
        again = await post(service, body, "key", path)
        assert (again.status_code, again.content) == (status, first.content)
        ids = [answer.headers.pop("x-request-id", "") for answer in (first, again)]
        assert ids[0] != ids[1]
        assert again.headers.multi_items() == first.headers.multi_items()
    assert await links(service) == made


async def test_a_repetition_to_another_host_has_the_first_hosts_answer(service: Served) -> None:
    """The host is no part of the payload: a client whose name for us changed meanwhile still gets what it lost."""
    first = await post(service, LINK, "key")
    headers = {"content-type": "application/json", "idempotency-key": "key", "host": "127.0.0.1:8080"}
    again = await service.http.post("/v1/links", content=LINK, headers=headers)
    assert again.content == first.content
    assert again.json()["short_url"].startswith("http://localhost/")


@pytest.mark.parametrize(("path", "body", "status"), CALLS)
async def test_another_payload_is_refused(service: Served, path: str, body: bytes, status: int) -> None:
    """422 for a body that differs in a byte, or the same body to the other call."""
    await post(service, body, "key", path)
    problem_in(await post(service, body + b" ", "key", path), 422, "idempotency-key-reused")
    for other, payload, _ in CALLS:
        if other != path:
            problem_in(await post(service, payload, "key", other), 422, "idempotency-key-reused")
    made = await links(service)
    assert (await post(service, body, "another key", path)).status_code == status
    assert await links(service) > made


async def test_a_request_under_way(service: Served) -> None:
    """Of concurrent ones in one process one is carried out; the others answer 409 and when to come again."""
    answers = await asyncio.gather(*[post(service, LINK, "key") for _ in range(10)])
    refused = [answer for answer in answers if answer.status_code == 409]
    done = [answer for answer in answers if answer.status_code == 201]
    assert len(done) + len(refused) == 10
    assert done
    assert len({answer.content for answer in done}) == 1
    for answer in refused:
        problem_in(answer, 409, "in-progress")
        assert answer.headers["retry-after"] == "1"
    assert await links(service) == 1
    assert (await post(service, LINK, "key")).content == done[0].content


@pytest.mark.parametrize(("path", "body", "status"), CALLS)
async def test_an_answer_that_is_kept_is_given_to_all_at_once(
    service: Served, path: str, body: bytes, status: int
) -> None:
    """None of them is under way; one with another payload is refused for that."""
    first = await post(service, body, "key", path)
    again = await asyncio.gather(
        *[post(service, body, "key", path) for _ in range(10)], post(service, body + b" ", "key", path)
    )
    *given, refused = again
    assert [answer.status_code for answer in given] == [status] * 10
    assert {answer.content for answer in given} == {first.content}
    problem_in(refused, 422, "idempotency-key-reused")


@pytest.mark.parametrize(("path", "body", "status"), CALLS)
async def test_two_processes_give_one_answer(tmp_path: Path, path: str, body: bytes, status: int) -> None:
    """Two applications on one file: whoever commits second answers with what the first one kept."""
    settings = settings_at(tmp_path, "sqlite")
    async with serve(settings) as one, serve(settings) as other:
        for key in "abcdefgh":
            payload = body.replace(b"b-b", b"b-b" + key.encode())
            answers = await asyncio.gather(*[post(served, payload, key, path) for served in (one, other)])
            assert [answer.status_code for answer in answers] == [status] * 2
            assert answers[0].content == answers[1].content
        made = await links(one)
        assert made == await links(other) == (8 if status == 201 else 16)


async def test_answers_outlive_the_process(tmp_path: Path) -> None:
    """The answer is in the store, not in the process."""
    settings = settings_at(tmp_path, "sqlite")
    async with serve(settings) as service:
        first = await post(service, LINK, "key")
    async with serve(settings) as service:
        assert (await post(service, LINK, "key")).content == first.content
        assert await links(service) == 1


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        ({"url": "ftp://a"}, 422),
        ({"url": "https://a.example", "code": "taken"}, 409),
        ({"url": "https://a.example", "code": "healthz"}, 409),
    ],
)
async def test_a_refusal_keeps_nothing(service: Served, refused: dict[str, Any], status: int) -> None:
    """After a create that was refused the key is free, for the same payload or a mended one."""
    await service.create(code="taken")
    body = json.dumps(refused).encode()
    for _ in range(2):
        assert (await post(service, body, "key")).status_code == status
    assert (await post(service, LINK, "key")).status_code == 201


async def test_reuse_is_answered_and_kept(service: Served) -> None:
    """A 200 of `reuse` is an answer like any other."""
    body = b'{"url": "https://example.com/", "reuse": true}'
    made = await service.create()
    first = await post(service, body, "key")
    assert (first.status_code, first.json()) == (200, made)
    await service.http.delete(f"/v1/links/{made['code']}")
    assert (await post(service, body, "key")).content == first.content


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", b"\xc3\xa9", "a\x7f"])
async def test_a_key_that_is_none(service: Served, key: Any) -> None:
    """400 for a key of another length or other characters, and for two keys."""
    assert "Idempotency-Key" in problem_in(await post(service, LINK, key), 400)["detail"]
    headers: Any = [("content-type", "application/json"), ("idempotency-key", "a"), ("idempotency-key", "a")]
    problem_in(await service.http.post("/v1/links", content=LINK, headers=headers), 400)
    assert await links(service) == 0


async def test_a_key_can_be_used_again_once_expired(opened: Opened) -> None:
    """After `links.idempotency_ttl` the key stands for a new request, whether or not its answer was purged."""
    clock = FakeClock()
    async with opened(clock=clock, links={"idempotency_ttl": 100.0}) as service:
        first = await post(service, LINK, "key")
        clock.step(99)
        assert (await post(service, LINK, "key")).content == first.content
        clock.step(1)
        other = b'{"url": "https://b.example"}'
        second = await post(service, other, "key")
        assert second.status_code == 201
        assert second.json()["code"] != first.json()["code"]
        clock.step(99)
        assert (await post(service, other, "key")).content == second.content
        problem_in(await post(service, LINK, "key"), 422, "idempotency-key-reused")


async def test_a_large_body_is_compared_whole(service: Served) -> None:
    """A payload of megabytes is told from one that differs in its last byte."""
    body = b'{"links": [{"url": "https://a.example"}]}' + b" " * 3_000_000
    assert (await post(service, body, "key", "/v1/links/batch")).status_code == 200
    assert (await post(service, body, "key", "/v1/links/batch")).status_code == 200
    problem_in(await post(service, body[:-1] + b"\n", "key", "/v1/links/batch"), 422)
