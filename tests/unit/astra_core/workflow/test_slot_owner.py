"""Owners of slots: they agree on who has which, hand over in good order, and refuse what is not theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astra_core.coordination import MemoryCoordination
from astra_core.errors import CommitConflict, SlotMoved
from astra_core.events import MembersChanged, SlotHandedOver
from astra_core.storage import Append, Insert, Query
from astra_core.workflow.slots import SLOTS, SlotMap, slot_of
from tests.unit.astra_core.workflow.owners import DRAIN, KEYS, TTL, Nodes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    """No owner yet."""
    made = Nodes()
    async with made.members, made.store:
        yield made
        for name in list(made.owners):
            await made.stop(name)


async def test_every_slot_has_the_owner_that_the_map_says(nodes: Nodes) -> None:
    """Three owners have all slots between them, and each knows where to send what is another's."""
    await nodes.start("a", "b", "c")
    ours = SlotMap("abc")
    assert [nodes.of(key) for key in KEYS] == [[ours.owner_of(key)] for key in KEYS]
    assert sum(owner.owned for owner in nodes.owners.values()) == SLOTS
    assert all(owner.settled for owner in nodes.owners.values())
    member = nodes.owners["a"].owner_of(KEYS[0])
    assert member is not None
    assert (member.name, member.data) == (ours.owner_of(KEYS[0]), f"address of {member.name}")


async def test_one_that_joins_gets_its_slots_and_nobody_elses_move(nodes: Nodes) -> None:
    """Only what the newcomer wins changes hands; the fences of all other slots stay as they are."""
    await nodes.start("a", "b")
    before = {key: (await nodes.store.get("fences", f"slot {slot_of(key)}")) for key in KEYS}
    await nodes.start("c")
    ours = SlotMap("abc")
    assert [nodes.of(key) for key in KEYS] == [[ours.owner_of(key)] for key in KEYS]
    for key in KEYS:
        moved = await nodes.store.get("fences", f"slot {slot_of(key)}") != before[key]
        assert moved == (ours.owner_of(key) == "c")


async def test_one_that_leaves_hands_over_at_once(nodes: Nodes) -> None:
    """Nobody waits for the end of its membership."""
    await nodes.start("a", "b")
    await nodes.stop("a")
    await nodes.clock.run_for(0.5)
    assert nodes.owners["b"].owned == SLOTS


async def test_one_that_dies_is_replaced_when_its_membership_ends(nodes: Nodes) -> None:
    """Not before, and then under fences that refuse whatever the dead one left on its way to the store."""
    await nodes.start("a", "b")
    key = next(key for key in KEYS if nodes.of(key) == ["a"])
    with nodes.owners["a"].slot(key) as old:
        await nodes.kill("a")
    await nodes.clock.run_for(TTL - 2.0)
    assert nodes.of(key) == []
    await nodes.clock.run_for(2.5)
    assert nodes.of(key) == ["b"]
    with pytest.raises(CommitConflict) as caught:
        await nodes.store.commit([old.require, Append(stream="s", key=key, data=b"late")])
    assert old.refused(caught.value)


async def test_one_that_nobody_hears_of_stops_before_its_slots_are_taken(nodes: Nodes) -> None:
    """At every moment a slot has at most one owner that believes in it, and when the wire is whole it has its own."""
    await nodes.start("a", "b")
    key = next(key for key in KEYS if nodes.of(key) == ["a"])
    nodes.wires["a"].whole.clear()
    said = []
    for _ in range(120):
        await nodes.clock.run_for(0.1)
        said.append(tuple(nodes.of(key)))
    assert list(dict.fromkeys(said)) == [("a",), (), ("b",)]
    nodes.wires["a"].whole.set()
    await nodes.clock.run_for(2.0)
    assert nodes.of(key) == ["a"]


async def test_work_that_runs_is_waited_for(nodes: Nodes) -> None:
    """The slot takes no more work at once, and goes to its new owner when the last piece has ended."""
    await nodes.start("a")
    key = next(key for key in KEYS if SlotMap("ab").owner_of(key) == "b")
    with nodes.owners["a"].slot(key) as fence:
        await nodes.start("b")
        assert nodes.of(key) == []
        await nodes.store.commit([fence.require, Append(stream="s", key=key, data=b"in time")])
    await nodes.clock.run_for(0.2)
    assert nodes.of(key) == ["b"]


async def test_one_that_is_stopped_while_it_joins_leaves_no_ghost(nodes: Nodes) -> None:
    """Its membership is there and the answer is not: it waits for that, and leaves."""
    await nodes.start("b")
    nodes.begin("a")
    nodes.wires["a"].answers.clear()
    await nodes.clock.run_for(0.0)
    assert len((await nodes.members.view()).members) == 2
    nodes.tasks["a"].cancel()
    await nodes.clock.run_for(0.0)
    assert not nodes.tasks["a"].done()
    nodes.wires["a"].answers.set()
    await nodes.clock.run_for(0.0)
    assert nodes.tasks["a"].done()
    del nodes.owners["a"]
    assert [member.name for member in (await nodes.members.view()).members] == ["b"]
    await nodes.clock.run_for(0.5)
    assert nodes.owners["b"].owned == SLOTS


async def test_work_that_does_not_end_is_fenced(nodes: Nodes) -> None:
    """After the drain time the slot moves without it, and what it commits then is refused, as a slot that moved."""
    await nodes.start("a")
    key = next(key for key in KEYS if SlotMap("ab").owner_of(key) == "b")
    with pytest.raises(SlotMoved) as caught, nodes.owners["a"].slot(key) as fence:  # noqa: PT012
        await nodes.start("b")
        await nodes.clock.run_for(DRAIN)
        assert nodes.of(key) == ["b"]
        await nodes.store.commit([fence.require, Append(stream="s", key=key, data=b"too late")])
    assert (caught.value.slot, caught.value.owner) == (slot_of(key), "b")
    assert await nodes.store.events("s", key) == ()


async def test_a_slot_whose_new_owner_left_before_it_came_stays(nodes: Nodes) -> None:
    """It takes work again under the same fence, although it had been closed for a while."""
    await nodes.start("a")
    key = next(key for key in KEYS if SlotMap("ab").owner_of(key) == "b")
    with nodes.owners["a"].slot(key) as before:
        await nodes.start("b")
        assert nodes.of(key) == []
        await nodes.stop("b")
        await nodes.clock.run_for(1.0)
        assert nodes.of(key) == ["a"]
    with nodes.owners["a"].slot(key) as after:
        await nodes.store.commit([after.require])
    assert after == before


async def test_a_conflict_that_is_not_the_fences_passes(nodes: Nodes) -> None:
    """What the work itself got wrong reaches it as it is."""
    await nodes.start("a")
    insert = Insert(collection="things", key="k", value=b"")
    await nodes.store.commit([insert])
    with pytest.raises(CommitConflict), nodes.owners["a"].slot("k") as fence:
        await nodes.store.commit([fence.require, insert])
    assert nodes.of("k") == ["a"]


async def test_an_owner_that_stood_still_owns_nothing_until_it_joined_again(nodes: Nodes) -> None:
    """It refuses work by the clock alone, and then takes its slots anew, under new fences."""
    await nodes.start("a")
    with nodes.owners["a"].slot("k") as before:
        pass
    nodes.clock.advance(2 * TTL)
    assert nodes.of("k") == []
    assert nodes.owners["a"].owned == 0
    await nodes.clock.run_for(2.0)
    with nodes.owners["a"].slot("k") as after:
        assert after.epoch > before.epoch


async def test_slots_wait_for_a_store_that_is_away(nodes: Nodes) -> None:
    """Nothing moves meanwhile, and all of it afterwards."""
    await nodes.start("a")
    nodes.store.away = True
    await nodes.start("b")
    assert nodes.owners["b"].owned == 0
    nodes.store.away = False
    await nodes.clock.run_for(1.0)
    assert nodes.owners["a"].settled
    assert nodes.owners["b"].settled


async def test_a_list_of_members_that_begins_anew_finds_every_slot_again(nodes: Nodes) -> None:
    """Fences that say they are held by a life of the same name and number, which never took them, hold up nobody."""
    await nodes.start("a", "b", "c")
    lives = {member.name: member.epoch for member in nodes.owners["a"].view.members}
    for name in ("a", "b", "c"):
        await nodes.kill(name)
    assert b'"held":true' in (await nodes.store.find(Query(collection="fences", index="slot"))).records[0].value
    async with MemoryCoordination(clock=nodes.clock) as anew:
        nodes.members = anew
        await nodes.start("d", "e", "c")
        assert nodes.owners["c"].view.has("c", lives["c"])
        assert sum(owner.owned for owner in nodes.owners.values()) == SLOTS
        for name in ("c", "d", "e"):
            await nodes.stop(name)


@pytest.mark.parametrize("paused", ["find", "commit"])
async def test_an_owner_that_was_paused_while_it_took_slots_takes_none_from_a_member(nodes: Nodes, paused: str) -> None:
    """Wherever it stood still, what another has taken meanwhile stays under the fence that it has."""
    fences = {}

    async def meanwhile() -> None:
        await nodes.start("b")
        for key in KEYS:
            if nodes.of(key) == ["b"]:
                with nodes.owners["b"].slot(key) as fence:
                    fences[key] = fence

    nodes.begin("a")
    nodes.doors["a"].before[paused] = meanwhile
    await nodes.clock.run_for(3.0)
    assert len(fences) > 50
    assert sum(owner.owned for owner in nodes.owners.values()) == SLOTS
    for fence in fences.values():
        await nodes.store.commit([fence.require])


async def test_a_commit_in_doubt_is_looked_up(nodes: Nodes) -> None:
    """Slots that were taken or given without an answer are found to be so, and nothing is stuck."""
    nodes.begin("a")
    nodes.doors["a"].doubt = True
    await nodes.clock.run_for(1.0)
    assert nodes.owners["a"].owned == SLOTS
    nodes.doors["a"].doubt = True
    await nodes.start("b")
    assert [owner.settled for owner in nodes.owners.values()] == [True, True]
    assert sum(owner.owned for owner in nodes.owners.values()) == SLOTS


async def test_a_slot_given_in_doubt_is_taken_anew(nodes: Nodes) -> None:
    """Its fence was given back without an answer, and its new owner left: it does not go on under the old fence."""
    await nodes.start("a")
    nodes.doors["a"].doubt = True
    nodes.begin("b")
    await nodes.clock.run_for(0.1)
    assert not nodes.doors["a"].doubt
    await nodes.stop("b")
    await nodes.clock.run_for(1.0)
    for key in KEYS:
        with nodes.owners["a"].slot(key) as fence:
            await nodes.store.commit([fence.require])


async def test_what_moves_is_told(nodes: Nodes) -> None:
    """Members as they change, and each slot that was given or taken, with the time it took."""
    await nodes.start("a")
    assert MembersChanged(1, 1) in nodes.events
    taken = [event for event in nodes.events if isinstance(event, SlotHandedOver)]
    assert ([event.slot for event in taken], {event.side for event in taken}) == (list(range(SLOTS)), {"taken"})
    nodes.events.clear()
    await nodes.start("b")
    moved = [event for event in nodes.events if isinstance(event, SlotHandedOver)]
    given = {event.slot for event in moved if event.side == "given"}
    assert given == {event.slot for event in moved if event.side == "taken"} == SlotMap("ab").slots_of("b")
    assert all(0.0 <= event.seconds < 1.0 for event in moved)
