"""The redirect path: who answers, with what, and what counts as a visit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from app.domain import BaseState
from app.edge.pages import page_of
from app.links import FEED
from astra_core.asgi import Problem
from astra_core.errors import StoreUnavailable
from tests.unit.app.clicks.doubles import crash
from tests.unit.app.links.doubles import replace
from tests.unit.astra_core.asgi.driver import Server, call, http_scope

if TYPE_CHECKING:
    from tests.unit.app.edge.conftest import Edge

PREFETCH = [(b"sec-purpose", b"prefetch;prerender")]
NOW = 1_700_000_000 * 1_000_000  # what the clock shows, in microseconds
SECOND = 1_000_000


async def test_a_redirect_is_status_location_and_no_more(edge: Edge) -> None:
    """The same three headers whether the link comes from the store or the cache, and no body."""
    for _ in range(3):
        server = await edge.get("/abc")
        assert (server.status, server.body) == (302, b"")
        assert server.headers == {
            b"location": b"https://example.com/abc",
            b"cache-control": b"private, no-store",
            b"content-length": b"0",
        }
        assert len(server.sent) == 2
    assert (edge.store.reads, edge.resolver.misses, edge.resolver.hits) == (1, 1, 2)
    assert edge.journal.recorded == 3


async def test_the_click_is_stored_before_the_answer_begins(edge: Edge) -> None:
    """A process killed right after it answered has the click on disk."""
    recorded: list[int] = []

    class Watching(Server):
        async def send(self, message: object) -> None:
            recorded.append(edge.journal.recorded)

    for _ in range(2):
        server = Watching()
        await edge.app(http_scope("/abc"), server.receive, server.send)
    assert recorded == [1, 1, 2, 2]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_the_status_is_the_links(edge: Edge, status: int) -> None:
    """From the store and from the cache."""
    await edge.create("other", redirect_status=status)
    assert [(await edge.get("/other")).status for _ in range(2)] == [status] * 2


async def test_head_and_prefetch_are_answered_and_not_counted(edge: Edge) -> None:
    """They get what a GET gets; a visit is a GET that somebody meant."""
    for _ in range(2):
        answers = [
            await edge.get("/abc", method="HEAD"),
            await edge.get("/abc", headers=PREFETCH),
            await edge.get("/abc", headers=[(b"sec-purpose", b"other"), (b"accept", b"*/*")]),
        ]
        assert [(a.status, a.body, a.headers) for a in answers] == [(302, b"", answers[0].headers)] * 3
    assert edge.journal.recorded == 2


async def test_a_full_journal_does_not_stop_redirects(edge: Edge) -> None:
    """The click is dropped and counted, the visitor goes on."""
    crash(edge.journal)
    for _ in range(2):
        assert (await edge.get("/abc")).status == 302
    assert (edge.journal.recorded, edge.journal.dropped) == (0, 2)


async def test_an_unknown_code_is_a_404_problem(edge: Edge) -> None:
    """Also for HEAD, without its body; nothing is counted."""
    problem = (await edge.get("/unknown")).problem
    assert (problem["status"], problem["type"]) == (404, "urn:astra:problem:unknown-link")
    head = await edge.get("/unknown", method="HEAD")
    assert (head.status, head.body) == (404, b"")
    assert edge.store.reads == 1
    assert edge.journal.recorded == 0


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ([b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], True),
        ([b"image/png", b"Text/HTML"], True),
        ([b"*/*"], False),
        ([b"application/json, text/html"], False),
        ([b"application/problem+json,text/html;q=0.5"], False),
        ([], False),
    ],
)
async def test_a_browser_gets_a_page_for_a_dead_link(edge: Edge, accept: list[bytes], page: bool) -> None:
    """The same status either way; the page says why, holds nothing to load or run, and is not kept."""
    await edge.create("gone", base=BaseState.DISABLED)
    headers = [(b"accept", value) for value in accept]
    for path, status, why in (("/unknown", 404, b"No link has this code."), ("/gone", 410, b"or deleted")):
        server = await edge.get(path, headers=headers)
        assert server.status == status
        assert why in server.body
        kind = b"text/html; charset=utf-8" if page else b"application/problem+json"
        assert (server.headers[b"content-type"], server.headers[b"cache-control"]) == (kind, b"no-store")
        if page:
            assert server.headers[b"content-security-policy"] == b"default-src 'none'"
            assert re.search(rb"<script|<style|<link|src=|href=|http", server.body) is None
        head = await edge.get(path, method="HEAD", headers=headers)
        assert (head.status, head.body) == (status, b"")
    assert edge.journal.recorded == 0


async def test_a_browser_gets_a_page_for_dead_links_alone(edge: Edge) -> None:
    """A live link sends it on, and another method is refused in JSON."""
    headers = [(b"accept", b"text/html")]
    assert (await edge.get("/abc", headers=headers)).status == 302
    assert (await edge.get("/abc", method="POST", headers=headers)).problem["status"] == 405


def test_no_text_of_a_page_is_markup() -> None:
    """Whatever a problem says is escaped."""
    page = page_of(Problem(status=404, title="<b>", detail="a & <script>"), '"<id>').body.decode()
    assert "<h1>&lt;b&gt;</h1><p>a &amp; &lt;script&gt;</p><p>404, request &quot;&lt;id&gt;</p>" in page


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "TRACE"])
async def test_a_short_link_answers_get_and_head_only(edge: Edge, method: str, cached: bool) -> None:
    """Every other method is a 405 problem that says what is allowed, and asks the store nothing."""
    if cached:
        await edge.get("/abc")
    reads = edge.store.reads
    server = await edge.get("/abc", method=method)
    assert server.problem["status"] == 405
    assert server.headers[b"allow"] == b"GET, HEAD"
    assert edge.store.reads == reads


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/ab", "/v1", "/v1/links", "/V99", "/healthz", "/Readyz", "/metrics", "/openapi.json", "/favicon.ico"),
        *("/abc/", "/abc/d", "//abc", "/ab.c", "/äbc", "/a%20c", "/" + "a" * 65, "abc", "", "*", "/abc\n", "/\ud800ab"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_everything_that_can_be_no_code_is_passed_on(edge: Edge, path: str, method: str) -> None:
    """Reserved words in whatever case, and paths of another shape, belong to the management application."""
    assert (await edge.get(path, method=method)).status == 299
    assert edge.passed == [path]
    assert edge.store.reads == 0


@pytest.mark.parametrize("code", ["abc", "ABC", "a-_", "0" * 64, "v100", "v1x"])
async def test_codes_are_matched_exactly(edge: Edge, code: str) -> None:
    """Any code of the right shape is looked up, case and all."""
    server = await edge.get("/" + code)
    assert server.status == (302 if code == "abc" else 404)
    assert edge.passed == []


async def test_other_scopes_are_passed_on(edge: Edge) -> None:
    """A websocket to a short link is none."""
    server = Server()
    await edge.app({"type": "websocket", "path": "/abc"}, server.receive, server.send)
    await edge.app({"type": "lifespan"}, server.receive, server.send)
    assert edge.passed == ["/abc", "lifespan"]


async def test_times_decide_at_every_answer(edge: Edge) -> None:
    """Cached or not: 404 before the start, a redirect until the end, 410 from it on."""
    await edge.create("timed", starts_at=NOW + 10 * SECOND, expires_at=NOW + 20 * SECOND)
    statuses = []
    for _ in range(5):
        statuses.append((await edge.get("/timed")).status)
        edge.clock.advance(5.0)
    assert statuses == [404, 404, 302, 302, 410]
    assert edge.store.reads == 1
    assert edge.journal.recorded == 2


@pytest.mark.parametrize("base", [BaseState.DISABLED, BaseState.DELETED])
async def test_what_was_taken_back_is_gone(edge: Edge, base: BaseState) -> None:
    """A link that existed answers 410, not 404, from the store and from the cache."""
    await edge.create("gone", base=base)
    for _ in range(2):
        assert (await edge.get("/gone")).problem["type"] == "urn:astra:problem:link-gone"
    assert edge.journal.recorded == 0


async def test_a_limited_link_is_never_visited_too_often(edge: Edge) -> None:
    """Each visit is taken from the store; the last one tells every cache."""
    await edge.create("two", max_visits=2)
    statuses = [(await edge.get("/two")).status for _ in range(4)]
    assert statuses == [302, 302, 410, 410]
    assert edge.store.takes == 2  # what is used up is known from then on, and asks for nothing
    assert edge.journal.recorded == 2
    assert await edge.remaining("two") == 0
    changes = await edge.store.changes(FEED, after=0)
    assert changes.keys == ("abc", "two", "two")


async def test_a_limited_link_that_others_used_up_is_gone(edge: Edge) -> None:
    """The store decides, whatever the cache still says."""
    await edge.create("one", max_visits=1)
    await edge.get("/one", method="HEAD")
    edge.store._counters["remaining", "one"] = 0
    assert (await edge.get("/one")).status == 410
    assert edge.journal.recorded == 0


async def test_a_limited_link_is_not_prefetched(edge: Edge) -> None:
    """A prefetch would use up a visit that nobody made; HEAD uses up none."""
    await edge.create("two", max_visits=2)
    assert (await edge.get("/two", headers=PREFETCH)).problem["status"] == 403
    assert (await edge.get("/two", method="HEAD")).status == 302
    assert (await edge.remaining("two"), edge.journal.recorded) == (2, 0)


async def test_with_the_store_away_only_limited_links_fail(edge: Edge) -> None:
    """Known links go on; one whose visits are counted in the store raises, and so does an unknown code."""
    await edge.create("two", max_visits=2)
    await edge.get("/abc")
    await edge.get("/two")
    edge.store.away = True
    edge.clock.advance(60)
    edge.resolver.feed_is_healthy(False)
    assert (await edge.get("/abc")).status == 302
    assert edge.resolver.stale == 1
    for path in ("/two", "/unknown"):
        with pytest.raises(StoreUnavailable):
            await edge.get(path)
    assert edge.journal.recorded == 3


async def test_a_changed_link_leads_elsewhere_at_once(edge: Edge) -> None:
    """When the news comes the cached entry is not used any more."""
    await edge.get("/abc")
    await replace(edge.store, "abc", url="https://example.com/other")
    edge.resolver.apply("abc")
    assert (await edge.get("/abc")).headers[b"location"] == b"https://example.com/other"


@pytest.mark.parametrize(
    ("url", "query", "location"),
    [
        ("https://e.x/", b"a=1&b=%20", b"https://e.x/?a=1&b=%20"),
        ("https://e.x/?q=1", b"a=1", b"https://e.x/?q=1&a=1"),
        ("https://e.x/#top", b"a=1", b"https://e.x/?a=1#top"),
        ("https://e.x/?q#a?b", b"c", b"https://e.x/?q&c#a?b"),
        ("https://e.x/", b"", b"https://e.x/"),
        ("https://e.x/", b'\r\nset-cookie: a=1 "<>#\xff', b"https://e.x/?%0D%0Aset-cookie:%20a=1%20%22%3C%3E%23%FF"),
    ],
)
async def test_a_query_goes_along_when_the_link_says_so(edge: Edge, url: str, query: bytes, location: bytes) -> None:
    """Before the fragment, behind what is there, and never able to break out of the header."""
    await edge.create("fwd", url=url, forward_query=True)
    await edge.create("own", url=url)
    for _ in range(2):
        assert (await edge.get("/fwd", query=query)).headers[b"location"] == location
        assert (await edge.get("/own", query=query)).headers[b"location"] == url.encode()


async def test_browsers_keep_a_redirect_no_longer_than_it_holds(edge: Edge) -> None:
    """`max-age` as set, less near the end of the link, none for one whose visits are counted down."""
    edge.app = edge.build(max_age=60.0)
    await edge.create("timed", expires_at=NOW + 100 * SECOND)
    await edge.create("two", max_visits=5)
    kept = [(await edge.get(path)).headers[b"cache-control"] for path in ("/abc", "/abc", "/timed", "/two")]
    assert kept == [b"private, max-age=60"] * 3 + [b"private, no-store"]
    edge.clock.advance(90.5)
    assert (await edge.get("/timed")).headers[b"cache-control"] == b"private, max-age=9"
    edge.clock.advance(9.0)
    assert (await edge.get("/timed")).headers[b"cache-control"] == b"private, no-store"


async def test_the_way_to_the_answer_is_a_plain_function(edge: Edge) -> None:
    """Choosing who answers gives back the answer's own awaitable, and does nothing yet."""
    server = Server()
    awaitable = edge.app(http_scope("/abc"), server.receive, server.send)
    assert server.sent == []
    await awaitable
    assert server.status == 302
    assert (await call(edge.app, http_scope("/abc"))).status == 302
