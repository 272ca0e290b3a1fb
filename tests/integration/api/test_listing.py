from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.api.served import problem_in, serve, settings_at

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.api.served import Served


async def codes(service: Served, **query: Any) -> list[str]:
    """Codes of a whole listing, page by page."""
    found: list[str] = []
    while True:
        page = (await service.http.get("/v1/links", params=query)).json()
        found += [item["code"] for item in page["items"]]
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


async def test_newest_first_page_by_page(service: Served) -> None:
    """Pages of any size put together are all links, newest first; the last page has no cursor."""
    made = [(await service.create(code=f"link-{place}"))["code"] for place in range(7)]
    for limit in (1, 2, 3, 7, 200):
        assert await codes(service, limit=limit) == made[::-1]
    first = (await service.http.get("/v1/links", params={"limit": 7})).json()
    assert first["next_cursor"] is None
    assert first["items"][0] == await service.read("link-6")


async def test_links_cannot_be_counted_up(tmp_path: Path) -> None:
    """Links are kept by numbers, which no answer holds, and by which nobody finds one."""
    async with serve(settings_at(tmp_path, "sqlite")) as service:
        made = [(await service.create())["code"] for _ in range(3)]
        cursor = (await service.http.get("/v1/links", params={"limit": 1})).json()["next_cursor"]
        with contextlib.closing(sqlite3.connect(tmp_path / "astra.db")) as connection:
            keys = [key for (key,) in connection.execute("SELECT key FROM r_links ORDER BY key")]
        assert [key[0] for key in keys] == ["#"] * 3
        for key in keys:
            assert key not in base64.urlsafe_b64decode(cursor + "==").decode()
            for path in (f"/v1/links/{quote(key)}", f"/v1/links/{quote(key)}/history", f"/{quote(key)}"):
                assert (await service.http.get(path)).status_code == 404
            assert (await service.http.delete(f"/v1/links/{quote(key)}")).status_code == 404
        assert await codes(service) == made[::-1]


async def test_filters(service: Served) -> None:
    """`tag`, `state` and `q` narrow the listing, alone and together."""
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    await service.create("https://one.example/Path", code="active", tags=["red", "big"], title="Straße")
    await service.create("https://two.example/", code="waiting", tags=["red"], starts_at=later)
    await service.create("https://three.example/", code="spent", tags=["blue"], max_visits=1)
    await service.create("https://four.example/", code="off", tags=["red", "👨‍👩‍👧"])
    await service.create("https://five.example/", code="removed", tags=["red"])
    await service.follow("spent")
    await service.http.post("/v1/links/off/disable")
    await service.http.delete("/v1/links/removed")
    for query, expected in (
        ({"tag": "red"}, ["off", "waiting", "active"]),
        ({"tag": " red "}, ["off", "waiting", "active"]),
        ({"tag": "Red"}, []),
        ({"tag": "👨‍👩‍👧"}, ["off"]),
        ({"state": "active"}, ["active"]),
        ({"state": "scheduled"}, ["waiting"]),
        ({"state": "exhausted"}, ["spent"]),
        ({"state": "expired"}, []),
        ({"state": "disabled"}, ["off"]),
        ({"state": "deleted"}, ["removed"]),
        ({"state": "deleted", "tag": "red"}, ["removed"]),
        ({"state": "deleted", "tag": "blue"}, []),
        ({"state": "disabled", "tag": "red"}, ["off"]),
        ({"q": "PATH"}, ["active"]),
        ({"q": "straße"}, ["active"]),
        ({"q": "aiti"}, ["waiting"]),
        ({"q": "%"}, []),
        ({"q": "example", "tag": "red", "state": "active"}, ["active"]),
        ({"q": "four", "tag": "big"}, []),
    ):
        for limit in (1, 200):
            assert await codes(service, limit=limit, **query) == expected, (query, limit)


async def test_a_rare_state_is_found_at_once(service: Served) -> None:
    """However few links are asked for, many are looked at: a page is not short because its limit is small."""
    await service.create(code="rare", max_visits=1)
    await service.follow("rare")
    await service.http.post("/v1/links/batch", json={"links": [{"url": "https://common.example"}] * 400})
    page = (await service.http.get("/v1/links", params={"state": "exhausted", "limit": 1})).json()
    assert [item["code"] for item in page["items"]] == ["rare"]
    pages = [await codes(service, state="active", limit=limit) for limit in (7, 50, 100, 150, 200)]
    assert [len(page) for page in pages] == [400] * 5
    assert pages[0] == pages[1] == pages[2] == pages[3] == pages[4]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "1.5"}, "limit"),
        ({"limit": "²"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"state": "gone"}, "state"),
        ({"state": ""}, "state"),
        ({"tag": ""}, "tag"),
        ({"tag": "a\0"}, "tag"),
        ({"q": "x" * 257}, "q"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
    ],
)
async def test_what_a_listing_cannot_take_is_named(service: Served, query: dict[str, str], field: str) -> None:
    """422 begins with the name of the parameter."""
    detail = problem_in(await service.http.get("/v1/links", params=query), 422)["detail"]
    assert detail.startswith(f"{field}: ")


async def test_a_cursor_belongs_to_its_listing(service: Served) -> None:
    """With other filters it is refused; with another limit it goes on."""
    for place in range(4):
        await service.create(code=f"link-{place}", tags=["a", "b"])
    cursor = (await service.http.get("/v1/links", params={"tag": "a", "limit": 1})).json()["next_cursor"]
    for other in ({"tag": "b"}, {}, {"tag": "a", "q": "x"}, {"tag": "a", "state": "active"}):
        problem_in(await service.http.get("/v1/links", params={**other, "cursor": cursor}), 422, "invalid-cursor")
    assert await codes(service, tag="a", cursor=cursor, limit=3) == ["link-2", "link-1", "link-0"]


def forged(*after: Any, tag: str | None = None) -> str:
    """A cursor as nobody was given it, with the fingerprint that anybody can compute."""
    asked = json.dumps([tag, None, ""], separators=(",", ":")).encode()
    fingerprint = hashlib.blake2b(asked, digest_size=6).hexdigest()
    text = json.dumps([fingerprint, *after]).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


async def test_a_forged_cursor_reaches_no_other_listing(service: Served) -> None:
    """Whatever a cursor says, the answer is 422 or a page of the listing that was asked for."""
    await service.create(code="red", tags=["red"])
    await service.create(code="blue", tags=["blue"])
    forgeries: list[list[Any]] = [
        [10**30, "abc"],
        [-1, "abc"],
        [1, "a\0c"],
        [1, "abc", "def"],
        ["blue", 1, "abc"],
        [1.5, "abc"],
        [[]],
        [],
    ]
    for after in forgeries:
        problem_in(await service.http.get("/v1/links", params={"cursor": forged(*after)}), 422, "invalid-cursor")
    cursor = forged(2**62, "zzz", tag="red")
    assert await codes(service, tag="red", cursor=cursor) == ["red"]


INSERTS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), max_size=8)


@pytest.mark.parametrize("query", [{}, {"tag": "a"}, {"state": "active"}, {"q": "example"}])
def test_paging_is_stable_under_inserts(query: dict[str, str], kind: str, tmp_path: Path) -> None:
    """However links are added while a reader pages: none comes twice, none that was there at the start is missed."""
    loop = asyncio.new_event_loop()
    opening = serve(settings_at(tmp_path, kind))
    service = loop.run_until_complete(opening.__aenter__())

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(INSERTS)
    def check(steps: list[tuple[int, int]]) -> None:
        loop.run_until_complete(page_through(service, query, steps))

    try:
        check()
    finally:
        loop.run_until_complete(opening.__aexit__(None, None, None))
        loop.close()


async def page_through(service: Served, query: dict[str, str], steps: list[tuple[int, int]]) -> None:
    """Read pages of the sizes given, with so many links made after each."""
    new = [{"url": "https://a.example", "tags": ["a"]}]
    await service.http.post("/v1/links/batch", json={"links": new * 5})
    start = await codes(service, **query)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for size, inserts in [*steps, (200, 0), (200, 0)]:
        page = (await service.http.get("/v1/links", params={**query, **cursor, "limit": size})).json()
        seen += [item["code"] for item in page["items"]]
        if inserts:
            await service.http.post("/v1/links/batch", json={"links": new * inserts})
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    else:
        seen += await codes(service, **query, **cursor)
    assert len(seen) == len(set(seen))
    assert seen == start
