"""What counts for a breaker round requests, and what strangers cannot make count."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import ClientDisconnect

from astra_core.errors import Overloaded, StoreUnavailable
from astra_core.middleware import (
    BreakerMiddleware,
    DeadlineMiddleware,
    DisconnectMiddleware,
    LimiterMiddleware,
    is_refusal,
    mark_refused,
)
from astra_core.resilience import (
    BreakerOpen,
    BreakerParameters,
    DeadlineExceeded,
    Limiter,
    LimiterParameters,
    current_deadline,
)
from tests.unit.astra_core.asgi.recorders import Foreign
from tests.unit.astra_core.middleware.client import Client, answering, copying, failing, turns
from tests.unit.astra_core.middleware.guarded import Guarded, by_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.asgi import ASGIApp, Receive, Scope, Send

GOOD, FAILED, NEITHER = (1, 0), (1, 1), (0, 0)
"""Calls counted and failures in a row."""

SHORTENED: dict[str, Any] = {"headers": [(b"x-request-deadline", b"1000")]}


def caused(error: BaseException, by: BaseException) -> BaseException:
    """Return `error`, raised from `by`."""
    error.__cause__ = by
    return error


def _open(guarded: Guarded) -> BreakerOpen:
    breaker = guarded.make("store")
    breaker.force_open()
    try:
        breaker.begin()
    except BreakerOpen as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("status", "counts"), [(200, GOOD), (302, GOOD), (404, GOOD), (499, GOOD), (500, FAILED), (504, FAILED)]
)
async def test_answers(status: int, counts: tuple[int, int]) -> None:
    """From 500 on they are failures."""
    guarded = Guarded(answering(status))
    assert await guarded.ask() == status
    assert guarded.calls == counts


@pytest.mark.parametrize("status", [0, 200, 500])
async def test_an_error_is_one_failure_whatever_was_sent_before(status: int) -> None:
    """Also when an answer began well and broke off."""
    guarded = Guarded(failing(ValueError, status=status))
    assert await guarded.ask() == status
    assert guarded.calls == FAILED


async def test_no_answer_is_a_failure() -> None:
    """The server sends 500 for it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Return."""

    guarded = Guarded(app)
    await guarded.ask()
    assert guarded.calls == FAILED


REFUSALS: dict[str, Callable[[Guarded], BaseException]] = {
    "an open breaker": _open,
    "a full limiter": lambda _: Overloaded("store", limit=1),
    "a shortened deadline": lambda _: DeadlineExceeded("store", budget=1.0, own=False),
    "what an open breaker caused": lambda g: caused(StoreUnavailable("store"), _open(g)),
    "a cause of a cause": lambda g: caused(KeyError(), caused(StoreUnavailable("store"), _open(g))),
    "a group of them": lambda g: ExceptionGroup("", [_open(g), Overloaded("store", limit=1)]),
    "a cancellation": lambda _: asyncio.CancelledError(),
    "Starlette's word for a client that left": lambda _: ClientDisconnect(),
}
FAILURES: dict[str, Callable[[Guarded], BaseException]] = {
    "our own deadline": lambda _: DeadlineExceeded("store", budget=1.0, own=True),
    "a store that is away": lambda _: StoreUnavailable("store"),
    "a group with a failure": lambda g: ExceptionGroup("", [_open(g), ValueError()]),
    "an error while a refusal was handled": lambda g: _handling(_open(g)),
    "an error that is its own cause": lambda _: _ring(),
}


def _ring() -> BaseException:
    error = ValueError()
    return caused(error, error)


def _handling(refusal: BaseException) -> BaseException:
    error = KeyError()
    error.__context__ = refusal
    return error


@pytest.mark.parametrize("status", [0, 200, 500])
@pytest.mark.parametrize("kind", REFUSALS)
async def test_errors_that_speak_against_nobody(kind: str, status: int) -> None:
    """Refusals of our own, at any depth of causes; cancellations; departures. Whatever was sent before."""
    guarded = Guarded()
    error = REFUSALS[kind](guarded)
    guarded.inside = failing(lambda: error, status=status)
    await guarded.ask()
    assert guarded.calls == NEITHER


@pytest.mark.parametrize("kind", FAILURES)
async def test_errors_that_speak_against_the_application(kind: str) -> None:
    """Also those that only look like refusals."""
    guarded = Guarded()
    error = FAILURES[kind](guarded)
    assert not is_refusal(error)
    guarded.inside = failing(lambda: error)
    await guarded.ask()
    assert guarded.calls == FAILED


async def test_errors_can_be_ignored_and_judged_by_the_breaker_itself() -> None:
    """`ignore` here; a predicate that fails ignores nothing. The breaker's own exclusions hold too."""

    def broken(error: Exception) -> bool:
        raise RuntimeError

    for ignore, counts in ((lambda error: isinstance(error, KeyError), NEITHER), (broken, FAILED)):
        guarded = Guarded(failing(KeyError), ignore=ignore)
        await guarded.ask()
        assert guarded.calls == counts
    guarded = Guarded()
    await guarded.ask()
    guarded.breaker.add_excluded_exception(KeyError)
    guarded.inside = failing(KeyError)
    await guarded.ask()
    assert guarded.calls == GOOD


def full(guarded: Guarded) -> ASGIApp:
    """Return an application behind a limiter that is full."""
    limiter = Limiter("inner", sweep=guarded.sweep, parameters=LimiterParameters(limit=1, queue=0))
    limiter.try_acquire()
    return LimiterMiddleware(answering(), limiter=limiter)


def opened(guarded: Guarded) -> ASGIApp:
    """Return an application behind a breaker that is open."""
    inner = BreakerMiddleware(answering(), breaker=guarded.make, key=by_path, clock=guarded.clock)
    inner.breakers["/"] = guarded.make("/")
    inner.breakers["/"].force_open()
    return inner


def shortened(guarded: Guarded) -> ASGIApp:
    """Return an application that does not answer within the deadline that a caller shortened."""
    return DeadlineMiddleware(failing(lambda: DeadlineExceeded("x", budget=1.0, own=False)), budget=1.0)


def told(guarded: Guarded) -> ASGIApp:
    """Return an application that turns a refusal into an answer itself, and says so."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        mark_refused(scope, 503)
        await answering(503)(scope, receive, send)

    return app


@pytest.mark.parametrize("between", [lambda app: app, Foreign, copying], ids=["fused", "foreign", "copying"])
@pytest.mark.parametrize(("inner", "status"), [(full, 503), (opened, 503), (shortened, 504), (told, 503)])
async def test_refusals_of_inner_layers_are_no_failures_of_outer_ones(
    inner: Callable[[Guarded], ASGIApp], status: int, between: Callable[[ASGIApp], ASGIApp]
) -> None:
    """Fused or beyond a foreign middleware, and for every breaker on the way out."""
    guarded = Guarded()
    outer = BreakerMiddleware(
        between(BreakerMiddleware(between(inner(guarded)), breaker=guarded.make, key=by_path, clock=guarded.clock)),
        breaker=guarded.make, key=by_path, clock=guarded.clock,
    )  # fmt: skip
    assert await guarded.ask(outer) == status
    inside = outer.app if isinstance(outer.app, BreakerMiddleware) else None
    for layer in (outer, inside):
        if layer is not None:
            now = layer.breakers["/"].snapshot()
            assert (now.calls, now.consecutive_failures) == NEITHER


async def test_a_refusal_that_breaks_off_is_still_one() -> None:
    """Whatever becomes of it after it was marked."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        mark_refused(scope, 503)
        raise ConnectionResetError

    guarded = Guarded(app)
    await guarded.ask()
    assert guarded.calls == NEITHER


async def test_an_answer_after_a_refusal_counts() -> None:
    """A request that was refused once and then served was served; one that then failed has failed."""

    for status, counts in ((200, GOOD), (500, FAILED)):

        async def app(scope: Scope, receive: Receive, send: Send, *, status: int = status) -> None:
            mark_refused(scope, 503)
            await answering(status)(scope, receive, send)

        guarded = Guarded(app)
        await guarded.ask()
        assert guarded.calls == counts


async def _hang(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def _hang_and_give_up(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await answering(503)(scope, receive, send)


@pytest.mark.parametrize("app", [_hang, _hang_and_give_up])
@pytest.mark.parametrize(("scope", "counts"), [({}, FAILED), (SHORTENED, NEITHER)], ids=["our own", "shortened"])
@pytest.mark.parametrize("outside", [True, False], ids=["deadline outside", "deadline inside"])
async def test_only_our_own_deadline_counts(
    app: ASGIApp, scope: dict[str, Any], counts: tuple[int, int], outside: bool
) -> None:
    """One that a caller shortened does not, wherever the deadline stands and whoever answers for it.

    With the one exception that an application inside answers for it by itself: then it has to say so.
    """
    guarded = Guarded()

    def deadline(inside: ASGIApp) -> ASGIApp:
        return DeadlineMiddleware(inside, deadlines=guarded.deadlines, trusted=lambda scope: True)

    guarded.inside = app if outside else deadline(app)
    assert await guarded.ask(deadline(guarded.app) if outside else guarded.app, **scope) >= 503
    if app is _hang or outside or not scope:
        assert guarded.calls == counts
    assert current_deadline() is None


@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("outside", [True, False], ids=["deadline outside", "deadline inside"])
async def test_a_client_that_sends_slowly_opens_nothing(outside: bool, answers: bool) -> None:
    """When our own deadline is over because the body did not come, that is the client's doing."""

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while (await receive())["more_body"]:
                pass
        except asyncio.CancelledError:
            if not answers:
                raise
            await answering(500)(scope, receive, send)

    guarded = Guarded()
    deadline = DeadlineMiddleware(guarded.app if outside else read, deadlines=guarded.deadlines)
    guarded.inside = read if outside else deadline
    client = Client(b"a", b"b", hold=1)
    task = client.begin(deadline if outside else guarded.app, method="POST")
    await guarded.clock.run_for(6)
    assert task.done()
    assert client.status == (500 if answers else 504)
    if outside or not answers:
        assert guarded.calls == NEITHER
    assert guarded.runs == 1


@pytest.mark.parametrize(("waits", "counts"), [(3.0, NEITHER), (0.0, FAILED)])
async def test_a_deadline_further_in_that_a_slow_client_used_up(waits: float, counts: tuple[int, int]) -> None:
    """An error that says that time was over says nothing when most of it was the client's."""

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await guarded.clock.sleep(1)
        raise DeadlineExceeded("store", budget=1.0, own=True)

    guarded = Guarded(read)
    client = Client(b"a", b"b", hold=1)
    task = client.begin(guarded.app, method="POST")
    await guarded.clock.run_for(waits)
    client.go()
    await guarded.clock.run_for(2)
    assert isinstance(task.exception(), DeadlineExceeded)
    assert guarded.calls == counts


async def test_a_slow_upload_is_no_slow_call() -> None:
    """Its time is not the application's."""

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await answering()(scope, receive, send)

    parameters = BreakerParameters(failure_rate=None, slow_rate=1.0, slow_after=1.0, minimum_calls=1)
    guarded = Guarded(read, parameters=parameters)
    client = Client(b"a", b"b", hold=1)
    task = client.begin(guarded.app, method="POST")
    await guarded.clock.run_for(5)
    client.go()
    assert (await task).status == 200
    assert (guarded.calls, guarded.breaker.snapshot().slow_rate) == (GOOD, 0.0)


async def test_work_that_hangs_after_a_quick_upload_counts() -> None:
    """Some of the time is always the client's; what counts is whose most of it was."""

    async def read_and_hang(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await asyncio.Event().wait()

    guarded = Guarded(read_and_hang)
    client = Client(b"a", b"b", hold=1)
    task = client.begin(DeadlineMiddleware(guarded.app, deadlines=guarded.deadlines), method="POST")
    await guarded.clock.run_for(2)
    client.go()
    await guarded.clock.run_for(4)
    assert (await task).status == 504
    assert guarded.calls == FAILED


async def test_a_quick_failure_after_a_slow_upload_counts() -> None:
    """Slowness excuses only what came too late."""

    async def read_and_fail(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await answering(500)(scope, receive, send)

    guarded = Guarded(read_and_fail)
    client = Client(b"a", b"b", hold=1)
    task = client.begin(guarded.app, method="POST")
    await guarded.clock.run_for(2)
    client.go()
    await task
    assert guarded.calls == FAILED


@pytest.mark.parametrize("end", ["error", "answer", "nothing"])
async def test_whatever_ends_badly_after_the_client_left_is_nothing(end: str) -> None:
    """An upload that broke off makes applications fail in many ways."""

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            assert message["more_body"]
        if end == "error":
            raise KeyError("body")
        if end == "answer":
            await answering(500)(scope, receive, send)

    guarded = Guarded(read)
    client = Client(b"a", b"b", hold=1)
    task = client.begin(guarded.app, method="POST")
    await turns()
    client.leave()
    await asyncio.wait([task])
    task.exception()
    assert guarded.calls == NEITHER


@pytest.mark.parametrize("between", [lambda app: app, copying], ids=["fused", "copying"])
@pytest.mark.parametrize("outside", [True, False])
async def test_work_that_was_cancelled_for_a_client_that_left_is_nothing(
    outside: bool, between: Callable[[ASGIApp], ASGIApp]
) -> None:
    """Wherever the departure is looked for."""
    guarded = Guarded(_hang)
    app: ASGIApp = guarded.app
    if outside:
        app = DisconnectMiddleware(between(guarded.app), sweep=guarded.sweep)
    else:
        guarded.inside = between(DisconnectMiddleware(_hang, sweep=guarded.sweep))
    client = Client()
    task = client.begin(app)
    await guarded.clock.run_for(0.5)
    client.leave()
    await turns()
    assert (await task).sent == []
    assert guarded.calls == NEITHER
