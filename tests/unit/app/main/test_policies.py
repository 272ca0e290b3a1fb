"""Settings as policies: what an operator writes is what stands round a call."""

from __future__ import annotations

import asyncio

import pytest

from app.main.instruments import Instruments
from app.main.live import Live
from app.main.policies import STORE, PolicyFactory
from app.settings import Retry, Safeguards, Settings, Store
from astra_core.resilience import Sweep
from astra_core.telemetry import LIBRARY, Metrics
from astra_core.testing import FakeClock


async def test_a_read_that_hangs_is_tried_again_within_its_deadline() -> None:
    """`try_timeout` cuts the first try off; without it the deadline of the whole would, and nobody would try again."""
    clock = FakeClock()
    retry = Retry(attempts=2, try_timeout=0.2, base=0.001, cap=0.001)
    live = Live(Settings(store=Store(read_deadline=1.0, reads=Safeguards(retry=retry))))
    begun: list[float] = []

    async def read() -> str:
        begun.append(clock.monotonic())
        if len(begun) == 1:
            await clock.sleep(60)
        return "there"

    async def probe() -> None:
        raise AssertionError("no breaker opens here")

    factory = PolicyFactory(
        sweep=Sweep(clock=clock),
        clock=clock,
        listeners=lambda event: None,
        spawn=asyncio.create_task,
        instruments=Instruments(Metrics(LIBRARY, clock=clock)),
        live=live,
    )
    policy = factory.dependency(
        "store reads", STORE, pick=lambda s: s.store.reads, deadline=lambda s: s.store.read_deadline, probe=probe
    )
    call = asyncio.create_task(policy.idempotent.call(read))
    await clock.run_for(0.9)
    assert await call == "there"
    assert begun[1] - begun[0] == pytest.approx(0.2, abs=0.1)
