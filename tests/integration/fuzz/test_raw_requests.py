from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.fuzz.live import examples

if TYPE_CHECKING:
    from tests.integration.fuzz.live import Live

KNOWN = ("plain", "query", "few", "later", "off")
bounded = settings(deadline=None, suppress_health_check=list(HealthCheck))

METHODS = st.sampled_from(
    [*["GET", "POST", "PATCH", "HEAD"] * 3, *["DELETE", "PUT", "OPTIONS", "TRACE", "", "get", "G\x00T"]]
)
FIXED = ["/v1/links", "/v1/links/batch", "/healthz", "/readyz", "/openapi.json", *[f"/{code}" for code in KNOWN]]
FIXED += [f"/v1/links/{code}{tail}" for code in KNOWN for tail in ("", "/disable", "/enable")]
EXTRA = st.integers(0, 59).map("/v1/links/extra-{}".format)
SEGMENTS = st.sampled_from(["", "v1", "links", "batch", "disable", "..", ".", *KNOWN]) | st.text(max_size=8)
PATHS = st.one_of(
    st.sampled_from(FIXED),
    st.sampled_from(FIXED),
    EXTRA,
    st.lists(SEGMENTS, max_size=5).map(lambda parts: "/" + "/".join(parts)),
    st.text(),
)
REQUESTS = st.tuples(METHODS, PATHS).filter(lambda pair: pair[0] != "DELETE" or pair[1] not in FIXED)
"""The links that most examples need are never deleted."""
QUERIES = st.binary(max_size=60) | st.builds(
    lambda name, value: name + b"=" + value,
    st.sampled_from([b"limit", b"cursor", b"tag", b"state", b"q"]),
    st.binary(max_size=40) | st.sampled_from([b"active", b"1", b"%00", b"%ff%fe", b"WyIiLDEsImFiYyJd"]),
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            b"host content-type content-length content-encoding if-match idempotency-key sec-purpose expect "
            b"transfer-encoding accept cookie".split()
        )
        | st.binary(max_size=12).map(bytes.lower),
        st.sampled_from(
            [b"localhost", b"application/json", b"application/merge-patch+json", b'"1"', b"*", b"key", b"5"]
        )
        | st.binary(max_size=40),
    ),
    max_size=6,
)
LIKELY = st.sampled_from(
    [[(b"host", b"localhost"), (b"content-type", b"application/json")], [(b"host", b"localhost")], []]
)

NAMES = ("url", "code", "starts_at", "expires_at", "max_visits", "redirect_status", "forward_query", "tags", "title")
MEMBERS = st.sampled_from([*NAMES, "private", "reuse", "links", ""])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["https://a.example/", "http://localhost/x", "https://ü.example/\u200b", "2030-01-01T00:00:00Z"])
    | st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "plain", "healthz", 2**53, -(2**70)]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(MEMBERS | st.text(), inner, max_size=5),
    max_leaves=12,
)
TIMES = st.none() | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5))])).map(datetime.isoformat)
LINKS = st.fixed_dictionaries(
    {"url": st.sampled_from(["https://a.example/", "http://b.example/?x#y", "https://ü.example/ü"])},
    optional={
        "code": st.none() | st.from_regex(r"[A-Za-z0-9_-]{3,6}", fullmatch=True),
        "starts_at": TIMES,
        "max_visits": st.none() | st.integers(1, 5),
        "redirect_status": st.sampled_from([None, 301, 302, 307, 308]),
        "forward_query": st.booleans(),
        "tags": st.lists(st.text("abc", min_size=1, max_size=5), max_size=3, unique=True),
        "title": st.none() | st.text("abc ü", max_size=10),
        "reuse": st.booleans(),
    },
)
ODD_LINKS = st.builds(lambda link, more: {**link, **more}, LINKS, st.dictionaries(MEMBERS, VALUES, max_size=2))
OBJECTS = LINKS | ODD_LINKS | st.dictionaries(MEMBERS, VALUES, max_size=6)
JSON = OBJECTS.map(json.dumps).map(str.encode)
BATCHES = st.lists(OBJECTS | VALUES, max_size=5).map(lambda links: json.dumps({"links": links}).encode())


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """JSON with a few bytes cut out or put in."""
    body = draw(JSON | BATCHES)
    at = draw(st.integers(0, len(body)))
    return body[:at] + draw(st.binary(max_size=3)) + body[at + draw(st.integers(0, 3)) :]


BODIES = LINKS.map(json.dumps).map(str.encode) | JSON | BATCHES | spoiled() | st.binary(max_size=100)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """The body in chunks."""
    edges = sorted({min(place, len(body)) for place in places} | {0})
    return [body[begin:end] for begin, end in zip(edges, [*edges[1:], len(body)], strict=True)]


@settings(bounded, max_examples=examples(400, 5_000))
@given(REQUESTS, QUERIES, LIKELY, HEADERS, BODIES, st.lists(st.integers(0, 200), max_size=3))
def test_any_request(
    live: Live,
    request: tuple[str, str],
    query: bytes,
    likely: list[tuple[bytes, bytes]],
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    places: list[int],
) -> None:
    """Whatever arrives is answered: never a 5xx but 503, every error a problem, no header that breaks its line."""
    live.raw(*request, query=query, headers=[*likely, *headers], chunks=cut(body, places)).check()


CALLS = st.sampled_from(
    [("POST", "/v1/links"), ("POST", "/v1/links/batch"), *[("PATCH", f"/v1/links/{code}") for code in KNOWN]]
)


@settings(bounded, max_examples=examples(400, 5_000))
@given(
    CALLS, BODIES, st.sampled_from([None, b"a", b"b"]), st.sampled_from([None, b"*", b'"1"', b'"2", W/"1"', b"\xff"])
)
def test_any_body(live: Live, call: tuple[str, str], body: bytes, key: bytes | None, match: bytes | None) -> None:
    """A body of any kind is taken or refused, and what was made reads back as it was answered."""
    method, path = call
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    headers += [(b"idempotency-key", key)] if key else []
    headers += [(b"if-match", match)] if match else []
    answer = live.raw(method, path, headers=headers, chunks=[body])
    answer.check()
    assert answer.status in {200, 201, 400, 409, 412, 413, 422}
    if answer.status == 201 and key is None:
        link = json.loads(answer.body)
        read = live.request("GET", f"/v1/links/{link['code']}")
        assert read.json() == link
        live.raw("GET", f"/{link['code']}", query=b"x=\xff\r\n").check()


@settings(bounded, max_examples=examples(400, 5_000))
@given(
    st.sampled_from(["GET", "HEAD"]),
    st.sampled_from([f"/{code}" for code in KNOWN]) | st.from_regex(r"/[A-Za-z0-9_-]{1,70}", fullmatch=True) | PATHS,
    st.binary(max_size=200),
    HEADERS,
)
def test_any_visit(live: Live, method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """A visit with any path, query and headers redirects to where the link leads, or is a problem."""
    answer = live.raw(method, path, query=query, headers=headers)
    answer.check()
    if 300 <= answer.status < 400:
        assert path[1:] in live.loop.run_until_complete(codes(live))
        assert answer.body == b""


async def codes(live: Live) -> set[str]:
    """Codes of all links."""
    found: set[str] = set()
    query = {"limit": "200"}
    while True:
        page = (await live.http.get("/v1/links", params=query)).json()
        found |= {item["code"] for item in page["items"]}
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


@settings(bounded, max_examples=examples(300, 5_000))
@given(
    st.text(max_size=50)
    | st.sampled_from(["http://", "https://"]).flatmap(lambda s: st.text(max_size=40).map(s.__add__))
)
def test_any_url(live: Live, url: str) -> None:
    """A URL that is taken is answered and redirected to as one ASCII href; taking that href again changes nothing."""
    response = live.request("POST", "/v1/links", json={"url": url})
    assert response.status_code in {201, 422}
    if response.status_code == 422:
        assert [error["pointer"] for error in response.json()["errors"]] == ["/url"]
        return
    link = response.json()
    assert link["url"].isascii()
    answer = live.raw("GET", f"/{link['code']}")
    answer.check()
    assert answer.header(b"location") == link["url"].encode()
    again = live.request("POST", "/v1/links", json={"url": link["url"]})
    assert (again.status_code, again.json()["url"]) == (201, link["url"])
