"""Whatever happens to a link, in whatever order: its history leads to where it stands, over every store."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain import Delete, Disable, Enable, InvalidLink, LinkState, Restore, next_due, recorded_state
from app.service import NotAllowed, UnknownLink
from tests.contract.lives.living import CODE, KINDS, NOW, RULES, living, open_store

if TYPE_CHECKING:
    from app.domain import LinkEvent
    from tests.contract.lives.living import Living

Act: TypeAlias = "LinkEvent | dict[str, Any] | int | str"

EXAMPLES = (
    {"memory": 3_000, "sqlite": 400} if os.environ.get("ASTRA_TEST_FULL") == "1" else {"memory": 120, "sqlite": 40}
)
TIMES = st.none() | st.integers(-2, 8).map(lambda second: (NOW + second) * 1_000_000)
MEMBERS = st.fixed_dictionaries(
    {}, optional={"starts_at": TIMES, "expires_at": TIMES, "max_visits": st.none() | st.integers(1, 4),
                  "title": st.sampled_from(["a", "b"])},
)  # fmt: skip
ACTS: st.SearchStrategy[list[Act]] = st.lists(
    st.one_of(
        st.sampled_from([Disable(), Enable(), Delete(), Restore()]),
        MEMBERS,
        st.integers(1, 3),
        st.sampled_from(["visit", "visit", "fire"]),
    ),
    max_size=12,
)
MADE = st.fixed_dictionaries(
    {}, optional={"starts_at": st.integers(1, 4), "expires_at": st.integers(5, 8), "max_visits": st.integers(1, 3)}
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_history_leads_to_where_the_link_stands(kind: str) -> None:
    """Replayed after each change it gives the recorded state, and once timers fired that is the one that is shown."""

    @settings(
        max_examples=EXAMPLES[kind],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(made=MADE, acts=ACTS)
    def lives(made: dict[str, int], acts: list[Act]) -> None:
        asyncio.run(live(kind, made, acts))

    lives()


async def live(kind: str, made: dict[str, int], acts: list[Act]) -> None:
    """Make a link and do to it what is asked, looking at it after each act."""
    times = {name: (NOW + value) * 1_000_000 for name, value in made.items() if name != "max_visits"}
    with tempfile.TemporaryDirectory() as folder:
        async with open_store(kind, Path(folder)) as store, living(store) as link:
            await link.make(**{**made, **times})
            for act in (0, *acts, "fire"):
                await do(link, act)
                await looks_right(link, fired=act == "fire")


async def do(link: Living, act: Act) -> None:
    """Do it; what the rules or the lifecycle forbid changes nothing."""
    before = await link.stored()
    try:
        if isinstance(act, dict):
            await link.manager.patch(CODE, act, rules=RULES, versions=None)
        elif isinstance(act, int):
            link.clock.advance(act)
        elif act == "visit":
            if await link.shown() in {LinkState.ACTIVE, LinkState.EXPIRED}:  # expired while it was under way
                await link.visit()
        elif isinstance(act, str):
            await link.runner.fire(CODE)
        else:
            await link.manager.move(CODE, act)
    except (InvalidLink, UnknownLink, NotAllowed):
        after = await link.stored()
        assert after.edition == before.edition


async def looks_right(link: Living, *, fired: bool) -> None:
    """Compare the record with what is told of it."""
    stored = await link.stored()
    state = recorded_state(stored.link)
    assert await link.runner.replay(CODE) is state
    history = await link.history()
    assert [entry.number for entry in history] == list(range(1, len(history) + 1))
    assert [entry.before for entry in history[1:]] == [entry.after for entry in history[:-1]]
    assert [entry.at for entry in history] == sorted(entry.at for entry in history)
    assert (history[-1].after, history[0].before, history[0].event) == (state, None, "made")
    asked = [entry for entry in history[1:] if entry.by not in {"timer", "limit"}]
    assert stored.edition == 1 + len(asked)
    instance = await link.runner.get(CODE)
    assert instance is not None
    timers = {name: at for name, at in instance.kept.timers.items() if name != "Exhaust"}
    assert min(timers.values(), default=None) == next_due(stored.link)
    if fired:
        assert state is await link.shown()
        assert instance.kept.due is None or instance.kept.due > link.now
