"""Imports over HTTP, carried out in this process: the worker's process has tests of its own."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api.served import HOST, problem_in, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.integration.api.served import Served

    Opened = Callable[..., AbstractAsyncContextManager[Served]]

CSV = {"content-type": "text/csv"}
NDJSON = {"content-type": "application/x-ndjson"}


def ndjson(links: Iterable[Any]) -> bytes:
    """A file of links, one a line."""
    return b"".join(json.dumps(link).encode() + b"\n" for link in links)


async def send(service: Served, body: bytes, headers: dict[str, str] = NDJSON, query: str = "") -> dict[str, Any]:
    """Upload a file that is taken."""
    response = await service.http.post(f"/v1/imports{query}", content=body, headers=headers)
    assert response.status_code == 201, response.text
    view: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/v1/imports/{view['id']}"
    return view


async def read(service: Served, key: str) -> dict[str, Any]:
    """Look at an import."""
    response = await service.http.get(f"/v1/imports/{key}")
    assert response.status_code == 200, response.text
    view: dict[str, Any] = response.json()
    return view


async def reached(service: Served, key: str, *states: str) -> dict[str, Any]:
    """Wait until an import stands in one of `states`."""
    view: dict[str, Any] = {}

    async def there() -> bool:
        view.update(await read(service, key))
        return view["state"] in states

    await until(there)
    return view


async def report_of(service: Served, key: str) -> list[dict[str, Any]]:
    """Read a report, in whichever format."""
    response = await service.http.get(f"/v1/imports/{key}/report")
    assert response.status_code == 200, response.text
    assert int(response.headers["content-length"]) == len(response.content)
    if response.headers["content-type"] == "text/csv":
        return list(csv.DictReader(io.StringIO(response.text)))
    return [json.loads(line) for line in response.text.splitlines()]


async def links_in(service: Served) -> dict[str, str]:
    """All links, code to URL."""
    found: dict[str, str] = {}
    cursor = ""
    while True:
        page = (await service.http.get(f"/v1/links?limit=200{cursor}")).json()
        for item in page["items"]:
            assert item["code"] not in found
            found[item["code"]] = item["url"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def kept_in(folder: Path) -> list[Path]:
    """What lies in the folder of imports, whatever store it belongs to."""
    return [path for path in (folder / "imports").rglob("*") if path.is_file() and not path.name.startswith("lease.")]


async def test_a_file_of_links_becomes_links(service: Served) -> None:
    """Each good row is a link with all its members, each bad one a line of the report, and the counts agree."""
    rows: list[Any] = [
        {"url": "https://a.example/1", "code": "first", "tags": ["x", "y"], "title": "One", "max_visits": 5},
        {"url": "ftp://a.example"},
        {"url": "https://a.example/3", "code": "first"},
        {"url": "https://a.example/4", "starts_at": "2100-01-01T00:00:00Z"},
        5,
        {"url": "https://a.example/6", "code": "healthz"},
        {"url": "https://a.example/7", "reuse": True},
        {"url": "https://a.example/7", "reuse": True},
    ]
    began = await send(service, ndjson(rows) + b"\n{bad\n", query="?name=my%20links.ndjson")
    assert began["state"] == "uploaded"
    assert (began["name"], began["format"], began["done"], began["rows"]) == ("my links.ndjson", "ndjson", 0, None)
    view = await reached(service, began["id"], "done", "failed")
    assert view["state"] == "done"
    assert (view["rows"], view["done"], view["created"], view["reused"], view["failed"]) == (9, 9, 3, 1, 5)
    assert view["bytes_read"] == view["size"]
    assert view["started_at"] <= view["finished_at"]
    report = await report_of(service, began["id"])
    assert [(line["row"], line["status"]) for line in report] == [
        (1, 201), (2, 422), (3, 409), (4, 201), (5, 422), (6, 409), (7, 201), (8, 200), (9, 400),
    ]  # fmt: skip
    assert [line["line"] for line in report] == [1, 2, 3, 4, 5, 6, 7, 8, 10]
    assert report[1]["problem"]["errors"][0]["pointer"] == "/url"
    assert report[6]["code"] == report[7]["code"]
    assert report[0]["short_url"] == f"{HOST}/first"
    assert await links_in(service) == {line["code"]: rows[line["row"] - 1]["url"] for line in report if "code" in line}
    link = await service.read("first")
    assert (link["tags"], link["title"], link["max_visits"]) == (["x", "y"], "One", 5)
    assert await service.follow("first") == 302


async def test_a_csv_names_its_columns(service: Served) -> None:
    """Columns come in any order, an empty cell is left out, tags are separated by commas; the report is CSV too."""
    body = (
        "\ufeffTitle,url,tags,max_visits,forward_query,expires_at,code\r\n"
        '"One, two",https://a.example/1,"x, y",3,true,2100-01-01T00:00:00Z,one\r\n'
        ",https://a.example/2,,,,,\r\n"
        ",,,,,,\r\n"
        ",https://a.example/4,,many,,,\r\n"
        '"a title\nof two lines",https://a.example/5,,,,,\r\n'
        ",https://a.example/6,,,,,three,four\r\n"
    ).encode()
    began = await send(service, body, CSV)
    view = await reached(service, began["id"], "done", "failed")
    assert (view["state"], view["rows"], view["created"], view["failed"]) == ("done", 5, 2, 3)
    report = await report_of(service, began["id"])
    assert [(line["row"], line["line"], line["status"]) for line in report] == [
        ("1", "2", "201"), ("2", "3", "201"), ("3", "5", "422"), ("4", "6", "422"), ("5", "8", "422"),
    ]  # fmt: skip
    assert report[0]["short_url"] == f"{HOST}/one"
    assert report[2]["problem"].startswith("max_visits ")
    assert "8 cells" in report[4]["problem"]
    link = await service.read("one")
    assert (link["title"], link["tags"], link["max_visits"], link["forward_query"]) == ("One, two", ["x", "y"], 3, True)


async def test_the_report_comes_in_the_format_asked_for(service: Served) -> None:
    """`report=csv` holds for an NDJSON file, and HEAD tells the size without the rows."""
    began = await send(service, ndjson([{"url": "https://a.example"}]), query="?report=csv")
    await reached(service, began["id"], "done")
    (line,) = await report_of(service, began["id"])
    assert (line["row"], line["status"], line["problem"]) == ("1", "201", "")
    head = await service.http.head(f"/v1/imports/{began['id']}/report")
    assert int(head.headers["content-length"]) > 0
    assert head.content == b""


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"url\nhttps://a.example\n", {"content-type": "multipart/form-data; boundary=x"}, 415, "the file itself"),
        (b"url\nhttps://a.example\n", {}, 415, "Content-Type"),
        (b"url\nx\n", {**CSV, "content-encoding": "gzip"}, 415, "Content-Encoding"),
        (b"", CSV, 422, "empty"),
        (b" \n \n", NDJSON, 422, "empty"),
        (b"link,code\nhttps://a.example,x\n", CSV, 422, "'link'"),
        (b"code,title\nx,y\n", CSV, 422, "url"),
        (b"url,url\nx,y\n", CSV, 422, "twice"),
        ("url\nhttps://a.example".encode("utf-16"), CSV, 422, "UTF-8"),
        (b"PK\x03\x04rest", CSV, 422, "save it as CSV"),
        (b"\x1f\x8brest", NDJSON, 422, "unpacked"),
        (b'{"url": "https://a.example"}\n' * 200, NDJSON, 413, "imports.max_file"),
    ],
)
async def test_a_file_that_cannot_be_imported_is_refused_at_once(
    opened: Opened, tmp_path: Path, body: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    """The answer names what to do, and nothing is kept: neither an import nor a byte of the file."""
    async with opened(imports={"max_file": 4096}) as service:
        response = await service.http.post("/v1/imports", content=body, headers=headers)
        problem = problem_in(response, status)
        assert words in problem["detail"]
        assert (await service.http.get("/v1/imports")).json() == {"items": [], "next_cursor": None}
        assert kept_in(tmp_path) == []


async def test_a_file_beyond_the_declared_or_allowed_size_leaves_nothing(opened: Opened, tmp_path: Path) -> None:
    """A body without a declared length is counted as it comes; the folder's quota holds for all files together."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b'{"url": "https://a.example"}\n' * 10

    async with opened(imports={"max_file": 8192, "quota": 8192, "worker": False}) as service:
        response = await service.http.post("/v1/imports", content=endless(), headers=NDJSON)
        problem_in(response, 413)
        await send(service, b'{"url": "https://a.example"}\n' * 200)
        response = await service.http.post("/v1/imports", content=ndjson([{"url": "x" * 4000}]), headers=NDJSON)
        assert "imports.quota" in problem_in(response, 507, "no-room")["detail"]
        assert response.headers["retry-after"]
        (kept,) = kept_in(tmp_path)
        assert kept.suffix == ".upload"


async def test_an_upload_that_breaks_off_leaves_nothing(opened: Opened, tmp_path: Path) -> None:
    """Bytes that stop coming are waited for only so long."""

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"url": "https://a.example"}\n'
        await asyncio.sleep(5)

    async with opened(imports={"patience": 0.1}) as service:
        problem_in(await service.http.post("/v1/imports", content=slow(), headers=NDJSON), 408)
        assert kept_in(tmp_path) == []


async def test_an_import_stops_and_goes_on_where_it_was(opened: Opened) -> None:
    """Paused, it stands still; resumed, it makes every link once; cancelled, it keeps what it has made."""
    async with opened(imports={"rows": 20, "pause": 0.01}) as service:
        began = await send(service, ndjson({"url": f"https://a.example/{n}"} for n in range(1_000)))
        await until(lambda: _has_done(service, began["id"], 1))
        paused = (await service.http.post(f"/v1/imports/{began['id']}/pause")).json()
        assert paused["state"] == "paused"
        await asyncio.sleep(0.1)
        standing = await read(service, began["id"])
        assert 0 < standing["done"] < 1_000
        await asyncio.sleep(0.1)
        assert await read(service, began["id"]) == standing
        assert len(await report_of(service, began["id"])) == standing["done"]
        assert (await service.http.post(f"/v1/imports/{began['id']}/resume")).json()["state"] == "running"
        view = await reached(service, began["id"], "done", "failed")
        assert (view["state"], view["done"], view["created"]) == ("done", 1_000, 1_000)
        found = await links_in(service)
        assert sorted(found.values()) == sorted(f"https://a.example/{n}" for n in range(1_000))
        assert [line["row"] for line in await report_of(service, began["id"])] == list(range(1, 1_001))


async def _has_done(service: Served, key: str, rows: int) -> bool:
    return bool((await read(service, key))["done"] >= rows)


async def test_a_cancelled_import_keeps_what_it_has_made(opened: Opened, tmp_path: Path) -> None:
    """Its file goes, its report stays, and nothing moves it any more."""
    async with opened(imports={"rows": 20, "pause": 0.01}) as service:
        began = await send(service, ndjson({"url": f"https://a.example/{n}"} for n in range(1_000)))
        await until(lambda: _has_done(service, began["id"], 1))
        view = (await service.http.post(f"/v1/imports/{began['id']}/cancel")).json()
        assert view["state"] == "cancelled"
        await asyncio.sleep(0.1)
        standing = await read(service, began["id"])
        assert len(await links_in(service)) == standing["created"] == len(await report_of(service, began["id"]))
        assert kept_in(tmp_path) == []
        for move in ("pause", "resume", "cancel"):
            response = await service.http.post(f"/v1/imports/{began['id']}/{move}")
            assert "cancelled" in problem_in(response, 409, "not-allowed")["detail"]


async def test_imports_are_listed_newest_first(service: Served) -> None:
    """Page by page, each once; a cursor of something else is refused."""
    ids = [(await send(service, ndjson([{"url": "https://a.example"}])))["id"] for _ in range(5)]
    page = (await service.http.get("/v1/imports?limit=3")).json()
    rest = (await service.http.get(f"/v1/imports?limit=3&cursor={page['next_cursor']}")).json()
    assert [item["id"] for item in page["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None
    problem_in(await service.http.get("/v1/imports?cursor=abc"), 422, "invalid-cursor")
    problem_in(await service.http.get("/v1/imports?limit=0"), 422)


@pytest.mark.parametrize("key", ["nothing", "0" * 23, "%00", f"{'0' * 23}%00", "0" * 5_000, "%ed%a0%80"])
async def test_an_import_that_nobody_knows_is_404(service: Served, key: str) -> None:
    """Whatever is asked of it, also by what no store takes as a key."""
    for path in ("", "/report"):
        problem_in(await service.http.get(f"/v1/imports/{key}{path}"), 404, "unknown-import")
    for move in ("pause", "resume", "cancel"):
        problem_in(await service.http.post(f"/v1/imports/{key}/{move}"), 404, "unknown-import")
