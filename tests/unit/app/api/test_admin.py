"""What stands before the figures of the service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request

from app.api import AdminGate, HealthApi, MetricsApi
from app.api.problems import RequestRefused
from astra_core.config import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "a-token-of-some-length"


def request(authorization: str | None = None, accept: str = "") -> Request:
    """A GET with these headers."""
    headers = [(b"accept", accept.encode())]
    if authorization is not None:
        headers.append((b"authorization", authorization.encode("latin-1")))
    return Request({"type": "http", "method": "GET", "path": "/metrics", "headers": headers})


def gate(token: str | None = TOKEN) -> AdminGate:
    """A gate with a token, or without."""
    return AdminGate(None if token is None else Secret(token))


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer  {TOKEN} "])
def test_the_token_opens(authorization: str) -> None:
    """The scheme is taken in any case, as RFC 9110 says."""
    assert gate().lets_in(request(authorization))


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xff\xfe",
    ],
)
def test_nothing_else_does(authorization: str | None) -> None:
    """No part of a token, no other scheme, and no bytes that are not ASCII."""
    assert not gate().lets_in(request(authorization))


def test_without_a_token_everybody_is_let_in() -> None:
    """A laptop needs no token."""
    assert gate(None).lets_in(request())


async def _render(accept: str) -> tuple[str, bytes]:
    return f"text/x; of={accept}", b"figures 1\n"


async def test_a_scrape_is_answered_in_the_format_it_asked_for() -> None:
    """Media type and body come from the renderer, and no cache keeps them."""
    answer = await MetricsApi(_render, gate=gate()).scrape(request(f"Bearer {TOKEN}", accept="openmetrics"))
    assert (answer.status, answer.body) == (200, b"figures 1\n")
    assert dict(answer.headers) == {b"content-type": b"text/x; of=openmetrics", b"cache-control": b"no-store"}


async def test_a_stranger_gets_no_figures_and_is_told_how_to_ask() -> None:
    """401 names the scheme, and nothing was rendered."""
    asked: list[str] = []

    async def render(accept: str) -> tuple[str, bytes]:
        asked.append(accept)
        return "", b""

    with pytest.raises(RequestRefused) as caught:
        await MetricsApi(render, gate=gate()).scrape(request("Bearer guessed"))
    assert caught.value.problem.status == 401
    assert dict(caught.value.problem.headers)[b"www-authenticate"] == b'Bearer realm="astra"'
    assert not asked


@pytest.mark.parametrize(("authorization", "shown"), [(None, {}), (f"Bearer {TOKEN}", {"store": {"ok": False}})])
async def test_readiness_says_to_strangers_only_whether(authorization: str | None, shown: dict[str, Any]) -> None:
    """The state is for every load balancer, the details are not."""

    async def look() -> Mapping[str, Any]:
        return {"ok": False}

    answer = await HealthApi({"store": look}, gate=gate()).ready(request(authorization))
    assert answer.status == 200
    assert json.loads(answer.body) == {"status": "degraded", "dependencies": shown}
