"""Access lines: a share of all requests, every failed or slow one, and never the query string."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from astra_core.middleware.access_log import AccessLogMiddleware, LogContextMiddleware
from astra_core.telemetry.log_line import line_of
from astra_core.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astra_core.asgi import ASGIApp, Receive, Scope, Send


class Kept(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines.append(line_of(record, 0.0))


@pytest.fixture
def kept() -> Iterator[Kept]:
    """The lines of one test."""
    logger, handler = logging.getLogger("tests.access"), Kept()
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield handler
    logger.removeHandler(handler)


def app(
    status: int = 200, *, seconds: float = 0, clock: FakeClock | None = None, error: BaseException | None = None
) -> ASGIApp:
    """An application that answers with `status` after `seconds`, or raises."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if clock is not None:
            clock.advance(seconds)
        if error is not None:
            raise error
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})

    return answer


async def ask(middleware: ASGIApp) -> None:
    """Send one request."""
    scope = {
        "type": "http", "method": "GET", "path": "/abc", "query_string": b"token=1", "headers": [],
        "client": ("10.0.0.1", 5), "http_version": "1.1", "astra.route": "/{code}",
        "astra.request_id": "r1", "astra.trace": b"\x01" * 16 + b"\x02" * 8,
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        pass

    await middleware(scope, receive, send)


def logged(inner: ASGIApp, **options: Any) -> AccessLogMiddleware:
    """The middleware round `inner`, with its lines kept."""
    return AccessLogMiddleware(inner, logger=logging.getLogger("tests.access"), **{"ratio": 0.0} | options)


async def test_a_sampled_line_says_what_happened(kept: Kept) -> None:
    """With the ids of its request, and without the query string."""
    await ask(logged(app(301), ratio=1.0))
    (line,) = kept.lines
    assert (line.message, line.level) == ("GET /{code} 301", "info")
    assert line.request == {"request_id": "r1", "trace_id": "01" * 16, "span_id": "02" * 8}
    assert line.fields.items() >= {"path": "/abc", "client": "10.0.0.1", "status": 301, "why": "sampled"}.items()
    assert "token" not in repr(line)


async def test_who_is_logged_without_a_name_is_given_one(kept: Kept) -> None:
    """One that has an id keeps it; one that is not logged needs none."""

    def name(scope: Any) -> None:
        scope.setdefault("astra.request_id", "made for the line")

    async def nameless(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/abc":
            del scope["astra.request_id"]
        await app()(scope, receive, send)

    await ask(logged(nameless, ratio=1.0, name=name))
    await ask(logged(app(), ratio=1.0, name=name))
    await ask(logged(nameless, ratio=1.0))
    assert [line.request.get("request_id") for line in kept.lines] == ["made for the line", "r1", None]


async def test_a_share_is_sampled(kept: Kept) -> None:
    """The gaps are those of the random numbers: at a ratio of 0.5, u = 0.6 skips one request."""
    access = logged(app(), ratio=0.5, random=lambda: 0.6)
    for _ in range(6):
        await ask(access)
    assert len(kept.lines) == 3
    access.configure(ratio=0.0)
    for _ in range(6):
        await ask(access)
    assert len(kept.lines) == 3


async def test_failed_and_slow_requests_always_leave_a_line(kept: Kept) -> None:
    """5xx and exceptions as errors, slow ones as warnings, cancelled ones as 499 when they are sampled."""
    clock = FakeClock()
    await ask(logged(app(503)))
    with pytest.raises(KeyError):
        await ask(logged(app(error=KeyError("x"))))
    await ask(logged(app(200, seconds=2, clock=clock), clock=clock, slow=2.0))
    with pytest.raises(asyncio.CancelledError):
        await ask(logged(app(error=asyncio.CancelledError())))
    with pytest.raises(asyncio.CancelledError):
        await ask(logged(app(error=asyncio.CancelledError()), ratio=1.0))
    found = [(line.level, line.fields["why"], line.fields["status"]) for line in kept.lines]
    assert found == [
        ("error", "error", 503), ("error", "error", 500), ("warning", "slow", 200), ("info", "sampled", 499),
    ]  # fmt: skip
    assert kept.lines[1].fields["error"] == "KeyError"


async def test_a_flood_of_failures_is_limited_and_counted(kept: Kept) -> None:
    """So many lines a second; the limit may change at run time."""
    clock = FakeClock()
    access = logged(app(500), per_second=2.0, clock=clock)
    for _ in range(5):
        await ask(access)
    assert (len(kept.lines), access.suppressed) == (2, 3)
    clock.advance(0.5)
    await ask(access)
    assert (len(kept.lines), access.suppressed) == (3, 3)


async def test_lines_inside_a_request_carry_its_ids(kept: Kept) -> None:
    """And lines after it do not."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        logging.getLogger("tests.access").info("inside")
        await app()(scope, receive, send)

    await ask(LogContextMiddleware(inner))
    logging.getLogger("tests.access").info("outside")
    assert [line.request.get("request_id") for line in kept.lines] == ["r1", None]
