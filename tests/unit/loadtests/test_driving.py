"""Driving an application in process, directly and through uvicorn's protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtests.browsers import FEW, MANY
from loadtests.driving import call, drive, scope_of
from loadtests.protocol import Connections
from loadtests.reference import LOCATION, PATH, bare_echo, bare_redirect, raw_redirect

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Header, Receive, Scope, Send


class Recorder:
    """Answers as the raw constant does, and keeps the scopes it saw."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep the scope and answer."""
        self.scopes.append(scope)
        await raw_redirect(scope, receive, send)


@pytest.mark.parametrize("headers", [FEW, MANY])
async def test_the_scope_is_what_uvicorn_builds(headers: tuple[Header, ...]) -> None:
    """The scope of a direct call differs from uvicorn's own in nothing but the peer's port."""
    app = Recorder()
    connections = Connections(app, count=1)
    await connections.answer(PATH, headers)
    connections.close()
    (theirs,) = app.scopes
    ours = scope_of(PATH.encode(), headers)
    assert list(ours) == list(theirs)
    assert {**ours, "client": None, "server": None} == {**theirs, "client": None, "server": None}


@pytest.mark.parametrize("app", [bare_redirect, raw_redirect])
async def test_both_references_redirect(app: ASGIApp) -> None:
    """The references answer what the service answers, to the same place."""
    answer = await call(app, "GET", PATH)
    assert (answer.status, answer.headers["location"], answer.body) == (302, LOCATION, b"")


async def test_the_echo_gives_the_body_back() -> None:
    """The reference of creations decodes its body and encodes it again."""
    answer = await call(bare_echo, "POST", "/v1/links", {"url": LOCATION})
    assert (answer.status, answer.json()) == (201, {"url": LOCATION})


async def test_driving_sends_as_many_requests_as_asked() -> None:
    """The cost of a request is the time by their number, so the number must be right."""
    app = Recorder()
    watch = await drive(app, PATH, FEW, requests=7)
    assert len(app.scopes) == 7
    assert watch.wall > 0


async def test_connections_answer_in_turns() -> None:
    """Every connection sends one request a turn; a number that does not divide is rounded up and told."""
    app = Recorder()
    connections = Connections(app, count=4)
    _, sent = await connections.drive(PATH, FEW, requests=10)
    answer = await connections.answer(PATH, FEW)
    connections.close()
    assert (sent, len(app.scopes)) == (12, 13)
    assert answer.startswith(b"HTTP/1.1 302 Found\r\n")
