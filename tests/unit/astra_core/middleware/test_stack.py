"""The layers together: fused or apart they do the same, and nothing of a request stays behind."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astra_core.asgi import REQUEST_ID, Layer
from astra_core.middleware import (
    BreakerMiddleware,
    DeadlineMiddleware,
    DisconnectMiddleware,
    LimiterMiddleware,
    RequestIdMiddleware,
    RetryMiddleware,
)
from astra_core.resilience import BreakerState, Limiter, Sweep, current_deadline
from tests.unit.astra_core.middleware.client import Client, answering
from tests.unit.astra_core.middleware.full_stack import Told, World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.asgi import Receive, Scope, Send

FIVE = [RequestIdMiddleware, DeadlineMiddleware, LimiterMiddleware, RetryMiddleware, BreakerMiddleware]

tenths = st.integers(0, 40).map(lambda tenth: tenth / 10)
ends = st.sampled_from(["200", "200", "302", "404", "500", "503", "error", "error", "bug", "half", "cancelled", "read"])
requests = st.builds(
    Told,
    begins=tenths,
    method=st.sampled_from(["GET", "PUT", "POST"]),
    works=st.sampled_from([0.0, 0.05, 0.3, 1.0, 5.0]),
    ends=ends,
    leaves=st.none() | tenths,
    cancelled=st.none() | st.none() | tenths,
    asked=st.none() | st.integers(0, 4_000),
)


def outcome(told: Sequence[Told], apart: set[int], statuses: frozenset[int]) -> tuple[Any, ...]:
    """Play the requests in a loop of their own."""

    async def play() -> tuple[Any, ...]:
        world = World(apart=apart, statuses=statuses)
        ended = await world.play(told)
        world.check_idle()
        return ended, world.counts()

    return asyncio.run(play())


@settings(max_examples=150, deadline=None)
@given(
    st.lists(requests, min_size=1, max_size=6),
    st.sets(st.integers(1, 5)),
    st.sampled_from([frozenset[int](), frozenset({503})]),
)
def test_fused_and_apart_they_do_the_same(told: list[Told], apart: set[int], statuses: frozenset[int]) -> None:
    """Same answers at the same times, same errors, same counts, however the chain is split; and every permit, probe
    and deadline has come back, whatever the application, the client and the server did.
    """
    fused = outcome(told, set(), statuses)
    assert outcome(told, apart, statuses) == fused
    assert outcome(told, {1, 2, 3, 4, 5}, statuses) == fused


def test_directly_stacked_they_are_one() -> None:
    """The outermost drives all of the five, and the sixth, in the order in which they stand."""
    world = World(core=answering())
    assert isinstance(world.app, Layer)
    fused = [type(layer) for layer in world.app._fused]
    assert [kind for kind in fused if kind is not DisconnectMiddleware] == FIVE
    assert len(fused) == 6


async def test_a_good_request_passes_all_of_them() -> None:
    """With its id, its deadline and its permits, and all of that is gone afterwards."""
    seen: list[Any] = []

    async def core(scope: Scope, receive: Receive, send: Send) -> None:
        deadline = current_deadline()
        assert deadline is not None
        seen.extend((scope[REQUEST_ID], deadline.remaining(), world.limiter.in_use, len(world.per_client)))
        await answering()(scope, receive, send)

    world = World(core=core)
    answer = await Client().ask(world.app)
    assert (answer.status, answer.body) == (200, b"done")
    assert seen == [answer.headers[b"x-request-id"].decode(), 3.0, 1, 1]
    assert world.counts()[:2] == (1, 0)
    world.check_idle()


@pytest.mark.parametrize("statuses", [frozenset[int](), frozenset({503})])
@pytest.mark.parametrize("apart", [set[int](), {1, 2, 3, 4, 5}])
async def test_a_request_leaves_no_garbage(apart: set[int], statuses: frozenset[int]) -> None:
    """All that it made is freed as soon as it ends: no ring is left for the collector, whose passes all would feel."""
    world = World(core=answering(), apart=apart, statuses=statuses)
    await Client().ask(world.app)
    gc.collect()
    gc.disable()
    try:
        assert (await Client().ask(world.app)).status == 200
        assert gc.collect() == 0
    finally:
        gc.enable()


async def test_an_outage_runs_its_course() -> None:
    """Requests are tried again until the breaker opens; then they are refused; then they are served again."""
    world = World()
    failing = [Told(begins=0.0, ends="error"), Told(begins=1.0, ends="error"), Told(begins=1.5)]
    ended = await world.play([*failing, Told(begins=4.0)])
    statuses = [types[0][1] if types else None for types, *_ in ended]
    assert statuses == [None, 503, 503, 200]
    assert world.breaker.circuit_state is BreakerState.CLOSED
    assert world.counts()[3] == 3  # opened, half-open, closed
    world.check_idle()


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
@pytest.mark.parametrize("apart", [set(), {1, 2, 3, 4, 5}])
async def test_other_scopes_pass_untouched(kind: str, apart: set[int]) -> None:
    """The application gets the server's own scope and callables."""
    seen: list[Any] = []

    async def core(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((scope, receive, send))

    client, scope = Client(), {"type": kind}
    receive, send = client.receive, client.send
    await World(core=core, apart=apart).app(scope, receive, send)
    assert (seen, scope) == ([scope, receive, send], {"type": kind})


async def test_each_layer_has_a_short_form() -> None:
    """What can be left out has a default that works: the real clock, problems with ids of their own."""
    app = RequestIdMiddleware(
        DeadlineMiddleware(
            LimiterMiddleware(DisconnectMiddleware(answering()), limiter=Limiter("edge", sweep=Sweep())), budget=1.0
        )
    )
    assert (await Client().ask(app)).status == 200
    assert repr(app).startswith("RequestIdMiddleware(DeadlineMiddleware(LimiterMiddleware(DisconnectMiddleware(")
