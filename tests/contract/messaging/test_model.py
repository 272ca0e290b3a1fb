"""The engines agree: any run of calls gives the same answers, trims and states in memory and in SQLite."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astra_core.errors import ClaimLost
from astra_core.events import Listeners
from astra_core.messaging import Outgoing, Retain
from tests.contract.messaging.conftest import open_engine

if TYPE_CHECKING:
    from astra_core.messaging import MessagingEngine

TOPICS = st.sampled_from(["t", "u"])
GROUPS = st.sampled_from(["a", "b"])
MEMBERS = st.tuples(TOPICS, GROUPS, st.integers(0, 1))
MESSAGES = st.builds(
    Outgoing,
    topic=TOPICS,
    key=st.sampled_from(["", "é", "k"]),
    data=st.binary(max_size=40),
    id=st.sampled_from(["", "i"]),
)
RECEIVES = st.tuples(st.just("receive"), MEMBERS, st.integers(1, 5))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.lists(MESSAGES, max_size=6)),
        RECEIVES,
        RECEIVES,
        st.tuples(st.just("acknowledge"), MEMBERS, st.integers(1, 12)),
        st.tuples(st.just("release"), MEMBERS),
        st.tuples(st.just("forget"), TOPICS, GROUPS),
    ),
    min_size=5,
    max_size=40,
)
RETAINS = st.builds(Retain, messages=st.integers(1, 12), weight=st.integers(1, 1_000), slack=st.integers(0, 3))


class Subject:
    """An engine with two consumers a group and topic, and what it told."""

    def __init__(self, engine: MessagingEngine, heard: list[object]) -> None:
        self.engine = engine
        self.heard = heard
        self.members = {
            (topic, group, place): engine.consumer(topic, group=group)
            for topic in "tu"
            for group in "ab"
            for place in range(2)
        }

    async def answer(self, step: Any) -> Any:
        """What it says to one step."""
        kind, *values = step
        try:
            if kind == "publish":
                return await self.engine.publisher().publish(values[0])
            if kind == "receive":
                return list(await self.members[values[0]].receive(limit=values[1]))
            if kind == "acknowledge":
                return await self.members[values[0]].acknowledge(values[1])
            if kind == "release":
                return await self.members[values[0]].release()
            return await self.engine.forget(values[0], group=values[1])
        except (ValueError, ClaimLost) as error:
            return type(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, retain=RETAINS)
def test_memory_and_sqlite_agree_on_every_answer(steps: list[Any], retain: Retain) -> None:
    """Each call is answered alike, refusals included, each trim is told alike, and both hold the same after it."""

    async def run(folder: Path) -> None:
        heard: dict[str, list[object]] = {"memory": [], "sqlite": []}
        async with (
            open_engine("memory", folder, Listeners(heard["memory"].append), retain) as memory,
            open_engine("sqlite", folder, Listeners(heard["sqlite"].append), retain) as sqlite,
        ):
            model, subject = Subject(memory, heard["memory"]), Subject(sqlite, heard["sqlite"])
            for step in steps:
                assert await subject.answer(step) == await model.answer(step)
                assert subject.heard == model.heard
                assert await sqlite.topics() == await memory.topics()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
