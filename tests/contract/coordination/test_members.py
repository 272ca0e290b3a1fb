"""What every adapter promises of members."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from astra_core.coordination import Member
from astra_core.errors import LeaseLost

if TYPE_CHECKING:
    from astra_core.coordination import Lease
    from tests.contract.coordination.conftest import Bench


async def joined(bench: Bench, name: str, *, ttl: float = 9.0, data: str = "") -> Lease:
    """Join under a name that must be free."""
    lease = await bench.at.join(name, ttl=ttl, data=data)
    assert lease is not None
    return lease


async def names(bench: Bench) -> list[str]:
    """Who is there."""
    return [member.name for member in (await bench.at.view()).members]


async def test_members_are_listed_in_order_with_what_they_say_of_themselves(bench: Bench) -> None:
    """Each has the epoch of its membership, and the view a number that grew with each of them."""
    assert (await bench.at.view()).members == ()
    b, a = await joined(bench, "b", data="10.0.0.2"), await joined(bench, "a")
    view = await bench.at.view()
    assert view.members == (Member("a", a.epoch), Member("b", b.epoch, "10.0.0.2"))
    assert b.epoch < a.epoch <= view.revision
    assert view.has("a", a.epoch)
    assert not view.has("a", b.epoch)


async def test_a_name_has_one_life_at_a_time(bench: Bench) -> None:
    """A second one joins only after the first left or is over, and under another epoch."""
    first = await joined(bench, "a")
    assert await bench.at.join("a", ttl=9.0) is None
    await bench.at.leave(first)
    second = await joined(bench, "a")
    assert second.epoch > first.epoch
    bench.clock.advance(9.0)
    assert (await joined(bench, "a")).epoch > second.epoch


async def test_who_sends_no_heartbeat_is_a_member_no_more(bench: Bench) -> None:
    """It is gone from the view under a new revision, its own heartbeat is refused, and others stay."""
    a, b = await joined(bench, "a"), await joined(bench, "b")
    bench.clock.advance(6.0)
    b = await bench.at.beat(b)
    before = await bench.at.view()
    bench.clock.advance(3.0)
    assert bench.clock.monotonic() >= a.until
    after = await bench.at.view()
    assert ([member.name for member in after.members], after.revision > before.revision) == (["b"], True)
    with pytest.raises(LeaseLost):
        await bench.at.beat(a)
    await bench.at.leave(a)
    await bench.at.beat(b)
    assert await bench.at.view() == after


async def test_a_late_heartbeat_is_refused_even_when_nobody_looked(bench: Bench) -> None:
    """Whoever was late joins anew, so that all see it as another life."""
    a = await joined(bench, "a")
    bench.clock.advance(9.0)
    with pytest.raises(LeaseLost):
        await bench.at.beat(a)


async def test_heartbeats_leave_the_revision_as_it_is(bench: Bench) -> None:
    """One revision is one list of members."""
    a = await joined(bench, "a")
    view = await bench.at.view()
    a = await bench.at.beat(a)
    assert await bench.at.view() == view
    await bench.at.leave(a)
    gone = await bench.at.view()
    await bench.at.leave(a)
    assert await bench.at.view() == gone
    assert gone.revision > view.revision


async def test_changes_are_awaited(bench: Bench) -> None:
    """Who waits hears of a member that joins, leaves or is over; else the wait ends when its time is up."""
    view = await bench.at.view()

    async def told() -> list[str]:
        nonlocal view
        waiting = asyncio.ensure_future(bench.at.changed(view.revision, wait=30.0))
        for _ in range(100):
            if waiting.done():
                break
            await bench.clock.run_for(0.5)
            await asyncio.sleep(0.002)
        view = await waiting
        return [member.name for member in view.members]

    a = await joined(bench, "a", ttl=20.0)
    assert await told() == ["a"]
    b = await joined(bench, "b", ttl=20.0)
    assert await told() == ["a", "b"]
    await bench.at.leave(a)
    assert await told() == ["b"]
    assert await told() == []
    assert bench.clock.monotonic() >= b.until
    began = bench.clock.monotonic()
    assert await told() == []
    assert bench.clock.monotonic() - began >= 30.0
