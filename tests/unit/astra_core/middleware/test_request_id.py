"""Ids of requests: whose they are, and where they are told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.asgi import RequestIds
from astra_core.middleware import RequestIdMiddleware
from tests.unit.astra_core.middleware.client import Client, answering, copying, scope_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astra_core.asgi import ASGIApp, Header, Receive, Scope, Send

SENT: Header = (b"x-request-id", b"from-outside.1_2")


class Seen:
    """An application that notes the id in its scope, and answers with a message that it keeps for ever."""

    def __init__(self, *headers: Header) -> None:
        self.ids: list[str] = []
        self.message: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": list(headers)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        self.ids.append(scope["astra.request_id"])
        await send(self.message)
        await send({"type": "http.response.body"})


async def test_every_request_has_an_id_and_its_answer_tells_it() -> None:
    """No two requests share one."""
    app = Seen()
    answers = [await Client().ask(RequestIdMiddleware(app)) for _ in range(3)]
    assert [answer.headers[b"x-request-id"].decode() for answer in answers] == app.ids
    assert len(set(app.ids)) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in app.ids)


async def test_only_the_trusted_choose_ids() -> None:
    """And by default nobody is."""
    app = Seen()
    local = RequestIdMiddleware(app, trusted=lambda scope: scope["client"][0] == "127.0.0.1")
    await Client().ask(RequestIdMiddleware(app), headers=[SENT])
    await Client().ask(local, headers=[SENT], client=("1.2.3.4", 5))
    await Client().ask(local, headers=[SENT])
    assert [each == "from-outside.1_2" for each in app.ids] == [False, False, True]


@pytest.mark.parametrize("header", ["X-Correlation-Id", b"X-Correlation-Id"])
async def test_a_header_is_named_by_a_text_or_by_bytes(header: str | bytes) -> None:
    """Either is the same header."""
    answer = await Client().ask(RequestIdMiddleware(answering(), header=header))
    assert re.fullmatch(b"[0-9a-f]{32}", answer.headers[b"x-correlation-id"])


@pytest.mark.parametrize("header", ["", "x id", "x-id\r\nset-cookie: a", b"x-id\n", "x-id:", "x-\u00efd", " x-id"])
def test_what_is_no_name_of_a_header_is_refused(header: str | bytes) -> None:
    """When it is made, not with each answer."""
    with pytest.raises(ValueError, match="is no name of a header"):
        RequestIdMiddleware(Seen(), header=header)


async def test_ids_know_whom_they_trust() -> None:
    """So who gives them and says more says two things; the header of the answer is theirs."""
    app = Seen()
    ids = RequestIds(trusted=lambda scope: True, header=b"X-Name")
    answer = await Client().ask(RequestIdMiddleware(app, ids=ids), headers=[(b"x-name", b"abc")])
    assert (app.ids, answer.headers[b"x-name"]) == (["abc"], b"abc")
    for more in ({"trusted": lambda scope: True}, {"header": b"x-name"}):
        with pytest.raises(TypeError, match="give them, or trusted and header"):
            RequestIdMiddleware(app, ids=ids, **more)


@pytest.mark.parametrize("value", [b"", b"a b", b"a\nb", b'"', "é".encode(), b"x" * 129, b"<script>"])
async def test_an_id_that_is_not_safe_to_repeat_is_replaced(value: bytes) -> None:
    """Too long, or with a character that means something in a log or a header."""
    app = Seen()
    answer = await Client().ask(
        RequestIdMiddleware(app, trusted=lambda scope: True), headers=[(b"x-request-id", value)]
    )
    assert app.ids[0] != value.decode()
    assert answer.headers[b"x-request-id"] == app.ids[0].encode()


async def test_headers_are_read_for_the_trusted_only() -> None:
    """Reading them is what costs."""

    class Forbidden(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            raise AssertionError("the headers were read")

    for layer in (RequestIdMiddleware(Seen()), RequestIdMiddleware(Seen(), trusted=lambda scope: False)):
        client = Client()
        await layer(scope_of(headers=Forbidden()), client.receive, client.send)
        assert client.status == 200


async def test_which_answers_tell_it_is_a_choice() -> None:
    """A header costs; the id is in the scope all the same."""
    good, bad = Seen(), answering(404)
    apps: tuple[tuple[ASGIApp, bool], ...] = ((good, False), (bad, True))
    for app, told in apps:
        layer = RequestIdMiddleware(app, answers=lambda status: status >= 400)
        assert (b"x-request-id" in (await Client().ask(layer)).headers) is told
    assert len(good.ids) == 1


async def test_an_answer_that_is_sent_again_and_again_does_not_grow() -> None:
    """An application may keep its message, and may have set the header itself: there is one, and it is this id."""
    app = Seen((b"x-request-id", b"its own"), (b"a", b"b"))
    for _ in range(3):
        answer = await Client().ask(RequestIdMiddleware(app))
        assert answer.headers == {b"a": b"b", b"x-request-id": app.ids[-1].encode()}


async def test_the_header_has_the_name_that_it_is_given() -> None:
    """Inwards and outwards."""
    app = Seen()
    layer = RequestIdMiddleware(app, header=b"X-Correlation-Id", trusted=lambda scope: True)
    answer = await Client().ask(layer, headers=[(b"x-correlation-id", b"abc")])
    assert answer.headers == {b"x-correlation-id": b"abc"}


@pytest.mark.parametrize("between", [lambda app: app, copying])
async def test_a_request_keeps_its_first_id(between: Any) -> None:
    """A second layer further in, fused or not, changes nothing."""
    app = Seen()
    answer = await Client().ask(RequestIdMiddleware(between(RequestIdMiddleware(app))))
    assert answer.headers == {b"x-request-id": app.ids[0].encode()}
