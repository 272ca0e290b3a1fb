"""Every arrow of the machine is walked by the shortener itself, over every store: times and limits made as it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.domain import (
    LIFECYCLE,
    Delete,
    Disable,
    Edit,
    Exhaust,
    Expire,
    LinkState,
    Start,
    recorded_state,
)
from astra_core.fsm import hops
from tests.contract.lives.living import CODE, KINDS, NOW, RULES, living, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from astra_core.fsm import Hop
    from tests.contract.lives.living import Living

SCHEDULED, ACTIVE, DISABLED, EXPIRED, EXHAUSTED, DELETED = LinkState
PAST, SOON, END = ((NOW + second) * 1_000_000 for second in (1, 100, 200))
USED, MOST = 3, 5
"""Visits that were taken of a limit, and the limit while some are left."""

RUNS: dict[str, Any] = {"starts_at": None, "expires_at": END, "max_visits": MOST}
MEMBERS = {
    SCHEDULED: {**RUNS, "starts_at": SOON},
    ACTIVE: RUNS,
    EXPIRED: {**RUNS, "expires_at": PAST},
    EXHAUSTED: {**RUNS, "max_visits": USED},
}
"""What makes a link, of which three visits were taken, due to be in a state five seconds after it was made."""
NEVER_WALKED = {(SCHEDULED, Expire, EXPIRED)}
"""A start comes before an expiry, and each is recorded at its moment; the machine does not know that."""

ARROWS = [
    hop for hop in hops(LIFECYCLE) if (hop.source, hop.transition.event, hop.transition.target) not in NEVER_WALKED
]


def named(hop: Hop[LinkState]) -> str:
    """Name an arrow as the diagram does."""
    return f"{hop.source}-{hop.transition.event.__name__}-{hop.transition.target}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hop", ARROWS, ids=named)
async def test_every_arrow_is_walked(kind: str, tmp_path: Path, hop: Hop[LinkState]) -> None:
    """From its source it leads to its target, the record says so, and the history ends with it and can be replayed."""
    source, event, target = hop.source, hop.transition.event, hop.transition.target
    async with open_store(kind, tmp_path) as store, living(store) as link:
        await arrive(link, source, due=next(state for state in (source, target, ACTIVE) if state in MEMBERS))
        assert recorded_state((await link.stored()).link) is source
        before = len(await link.history())
        await go(link, event, target)
        last = (await link.history())[-1]
        assert (last.before, last.after) == (source, target)
        assert len(await link.history()) == before + 1
        assert recorded_state((await link.stored()).link) is target is await link.runner.replay(CODE)


async def arrive(link: Living, state: LinkState, *, due: LinkState) -> None:
    """Make the link and bring it to a state, with times and limits that make it `due` to be in another."""
    await link.make(max_visits=MOST, expires_at=END)
    for _ in range(USED):
        assert await link.visit()
    link.clock.step(5)
    if due is not ACTIVE:
        await patch(link, due)
    if state is DISABLED:
        await link.manager.move(CODE, Disable())
    elif state is DELETED:
        await link.manager.move(CODE, Delete())


async def go(link: Living, event: type[Any], target: LinkState) -> None:
    """Have an event happen that leads to a state."""
    if event is Edit:
        await patch(link, target)
    elif event in {Start, Expire}:
        link.clock.step(100 if event is Start else 200)
        await link.runner.fire(CODE)
    elif event is Exhaust:
        while await link.visit():
            pass
        await link.runner.fire(CODE)
    else:
        await link.manager.move(CODE, event())


async def patch(link: Living, due: LinkState) -> None:
    """Edit it so that it is due to be in a state; something is edited in any case."""
    members = {**MEMBERS.get(due, RUNS), "title": f"edit {len(await link.history())}"}
    await link.manager.patch(CODE, members, rules=RULES, versions=None)
