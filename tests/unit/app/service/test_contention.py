"""Changes of a link that another process changes at the same time."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from app.domain import Disable
from app.service import Draft
from astra_core.errors import CommitConflict
from astra_core.resilience import DeadlineParameters, Deadlines, Sweep
from tests.unit.app.service.made import RULES, Made, made

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from astra_core.storage.writes import Write

MANY = 50


@pytest.fixture
async def service() -> AsyncIterator[Made]:
    """The service with one link."""
    async with made() as parts:
        await parts.create(Draft(url="https://a.example/", code="abc"))
        yield parts


def race(service: Made, times: float) -> None:
    """Let the other process change the link before each of the next commits here."""
    lost = count(1)

    async def rival(writes: Sequence[Write]) -> None:
        number = next(lost)
        await service.rival_manager.patch("abc", {"title": str(number)}, rules=RULES, versions=None)
        if number < times:
            service.store.rival = rival

    service.store.rival = rival


async def done(service: Made, change: Coroutine[Any, Any, Any]) -> Any:
    """Return what comes of a change while time passes."""
    task = asyncio.ensure_future(change)
    while not task.done():
        await service.clock.run_for(0.01)
    return await task


@pytest.mark.parametrize("how", ["patch", "move"])
async def test_a_change_is_tried_until_nobody_is_quicker(service: Made, how: str) -> None:
    """However many changes come first, it happens after them."""
    race(service, MANY)
    if how == "patch":
        change = service.manager.patch("abc", {"tags": ["x"]}, rules=RULES, versions=None)
    else:
        change = service.manager.move("abc", Disable())
    assert (await done(service, change)).version == MANY + 2
    assert (await service.manager.get("abc")).link.title == str(MANY)


@pytest.mark.parametrize("how", ["patch", "move"])
async def test_a_race_that_is_lost_until_the_deadline_is_a_conflict(service: Made, how: str) -> None:
    """The store is well, so no outage is told; nothing was changed."""
    race(service, float("inf"))
    deadlines = Deadlines("request", sweep=Sweep(clock=service.clock), parameters=DeadlineParameters(budget=2.0))

    async def change() -> None:
        async with deadlines.scope():
            if how == "patch":
                await service.manager.patch("abc", {"tags": ["x"]}, rules=RULES, versions=None)
            else:
                await service.manager.move("abc", Disable())

    with pytest.raises(CommitConflict):
        await done(service, change())
    service.store.rival = None
    assert (await service.manager.get("abc")).link.tags == ()
