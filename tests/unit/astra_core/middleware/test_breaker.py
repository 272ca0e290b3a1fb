"""The breaker round requests: which it is, when it refuses, and how it comes back."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from astra_core.middleware import BreakerMiddleware
from astra_core.middleware.refusals import WITNESS, Witness
from astra_core.resilience import BreakerParameters, BreakerState
from tests.unit.astra_core.asgi.recorders import Foreign
from tests.unit.astra_core.middleware.client import Client, answering, copying, failing, scope_of, turns
from tests.unit.astra_core.middleware.guarded import Guarded, by_path

if TYPE_CHECKING:
    from astra_core.asgi import ASGIApp, Receive, Scope, Send


async def test_what_fails_is_left_alone() -> None:
    """After the second failure the answer is 503 with the wait that is left, and the application does not run."""
    guarded = Guarded(answering(500))
    assert [(await Client().ask(guarded.app)).status for _ in range(2)] == [500, 500]
    refused = await Client().ask(guarded.app)
    assert (refused.status, refused.headers[b"retry-after"]) == (503, b"10")
    assert refused.problem["type"] == "urn:astra:problem:circuit-open"
    assert guarded.runs == 2


async def test_each_key_has_its_own_breaker_and_none_has_none() -> None:
    """A route that fails does not take another with it."""
    guarded = Guarded(answering(500))
    for path in ("/bad", "/free"):
        for _ in range(5):
            await Client().ask(guarded.app, path)
    guarded.inside = answering(200)
    assert [(await Client().ask(guarded.app, path)).status for path in ("/bad", "/good", "/free")] == [503, 200, 200]
    assert set(guarded.app.breakers) == {"/bad", "/good"}


async def test_keys_beyond_the_maximum_have_no_breaker(caplog: pytest.LogCaptureFixture) -> None:
    """And that is logged once: a key that strangers choose must not fill the memory."""
    guarded = Guarded(answering(500), maximum=2)
    for number in range(10):
        assert [(await Client().ask(guarded.app, f"/{number}")).status for _ in range(3)][-1] == (
            503 if number < 2 else 500
        )
    assert len(guarded.app.breakers) == 2
    assert caplog.text.count("there are 2 breakers") == 1


async def test_probes_pass_one_by_one_and_late_results_move_nothing() -> None:
    """Half-open admits its probe and no more; what began before it opened is not heard when it ends."""
    ends: list[asyncio.Future[int]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        ends.append(asyncio.get_running_loop().create_future())
        await answering(await ends[-1])(scope, receive, send)

    guarded = Guarded(app)
    late = Client().begin(guarded.app)
    await turns()
    guarded.breaker.open()
    guarded.clock.advance(11)
    probe = Client().begin(guarded.app)
    await turns()
    assert guarded.state() is BreakerState.HALF_OPEN
    assert (await Client().ask(guarded.app)).status == 503
    ends[0].set_result(500)
    assert (await late).status == 500
    assert guarded.state() is BreakerState.HALF_OPEN
    ends[1].set_result(200)
    assert (await probe).status == 200
    assert guarded.state() is BreakerState.CLOSED


@pytest.mark.parametrize("end", ["cancelled", "a refusal"])
async def test_a_probe_that_says_nothing_gives_its_place_back(end: str) -> None:
    """So that the next request can be one."""
    guarded = Guarded()
    await guarded.ask()
    guarded.breaker.half_open()
    inner = Guarded()
    await inner.ask()
    inner.breaker.force_open()
    guarded.inside = failing(asyncio.CancelledError) if end == "cancelled" else inner.app
    await guarded.ask()
    assert guarded.state() is BreakerState.HALF_OPEN
    guarded.inside = answering()
    assert await guarded.ask() == 200
    assert guarded.state() is BreakerState.CLOSED


async def test_slow_answers_open_it() -> None:
    """Timed until they begin: how fast a client takes them in is not the application's."""
    parameters = BreakerParameters(failure_rate=None, slow_rate=1.0, slow_after=1.0, minimum_calls=2, open_for=60.0)

    def taking(before: float, after: float) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await guarded.clock.sleep(before)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await guarded.clock.sleep(after)
            await send({"type": "http.response.body", "body": b""})

        return app

    guarded = Guarded(parameters=parameters)
    guarded.inside = taking(0.5, 5.0)
    assert [await guarded.ask() for _ in range(3)] == [200] * 3
    guarded.breaker.reset()
    guarded.inside = taking(1.5, 0.0)
    assert [await guarded.ask() for _ in range(3)] == [200, 200, 503]


async def test_what_a_failure_is_can_be_told() -> None:
    """By status."""
    guarded = Guarded(answering(429), is_failure=lambda status: status == 429)
    assert [(await Client().ask(guarded.app)).status for _ in range(3)] == [429, 429, 503]


@pytest.mark.parametrize("between", [lambda app: app, Foreign, copying])
async def test_the_scope_is_left_as_it_was_found(between: type[Foreign]) -> None:
    """Whoever judged further out still does, and nothing makes a ring that only the collector frees."""
    guarded = Guarded()
    app = BreakerMiddleware(between(guarded.app), breaker=guarded.make, key=by_path, clock=guarded.clock)
    witness = Witness(None)
    scope = scope_of() | {WITNESS: witness}
    before = set(scope)
    client = Client()
    await app(scope, client.receive, client.send)
    assert set(scope) == before
    assert scope[WITNESS] is witness
    scope = scope_of()
    gc.collect()
    gc.disable()
    try:
        await app(scope, client.receive, client.send)
        del scope
        assert gc.collect() == 0
    finally:
        gc.enable()
