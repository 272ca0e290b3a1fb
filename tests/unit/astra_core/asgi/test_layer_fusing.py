"""Fusing is an optimisation: a fused chain does what the same layers do one by one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.astra_core.asgi.driver import Server, http_scope
from tests.unit.astra_core.asgi.recorders import Act, Answer, Boom, Foreign, Log, Recorder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astra_core.asgi import ASGIApp

ENTERS = ["", "pass", "pass", "pass", "answer", "raise", "fail", "answer and fail"]
STARTS = ["", "pass", "pass", "raise", "teapot"]
RESCUES = ["", "pass", "answer", "raise", "fail", "answer and fail"]
LEAVES = ["", "pass", "raise"]

acts = st.builds(
    Act, st.sampled_from(ENTERS), st.sampled_from(STARTS), st.sampled_from(RESCUES), st.sampled_from(LEAVES)
)
cores = st.tuples(
    st.sampled_from([0, 200]), st.sampled_from([None, Boom, asyncio.CancelledError, SystemExit, KeyboardInterrupt])
)


def outcome(stack: Sequence[Act], core: tuple[int, type[BaseException] | None], apart: set[int]) -> tuple[Any, ...]:
    """Run one request; returns the hooks that ran, the messages sent and what was raised.

    In front of the layers whose places are in `apart` stands a foreign middleware.
    """
    log: Log = []
    app: ASGIApp = Answer("core", log, *core)
    for place in reversed(range(len(stack))):
        app = Recorder(app, f"layer {place}", log, stack[place])
        if place in apart:
            app = Foreign(app)
    server = Server()
    raised: BaseException | None = None
    try:
        app(http_scope(), server.receive, server.send).send(None)  # type: ignore[attr-defined]
    except StopIteration:
        pass
    except BaseException as error:
        raised = error
    return log, server.sent, type(raised), raised and raised.args


@settings(max_examples=400, deadline=None)
@given(st.lists(acts, min_size=1, max_size=5), cores, st.sets(st.integers(0, 4)))
def test_a_fused_chain_behaves_like_its_layers_one_by_one(
    stack: list[Act], core: tuple[int, type[BaseException] | None], apart: set[int]
) -> None:
    """Whatever the hooks refuse, raise or answer: same hooks, same order, same answer, same error; however split."""
    fused = outcome(stack, core, set())
    assert outcome(stack, core, set(range(len(stack)))) == fused
    assert outcome(stack, core, apart) == fused
