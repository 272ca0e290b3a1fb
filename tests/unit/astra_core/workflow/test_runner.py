"""One step, one commit: record, history, messages and ids."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from astra_core.errors import CommitConflict, ConflictReason
from astra_core.events import EventHandled, StepConflicted, TimerFired
from astra_core.fsm import Outcome, UndeclaredEvent
from astra_core.messaging import Outgoing
from astra_core.messaging.messages import check_outgoing
from astra_core.storage import Insert, Require
from astra_core.workflow import BEGIN, Entry, Kept, Notice, RecordKeeper, Runner, UnknownInstance
from tests.unit.astra_core.workflow.parcels import (
    DOOR,
    PARCEL,
    Act,
    Close,
    Door,
    Load,
    Open,
    Parcel,
    ParcelEvent,
    Pay,
    Return,
    Unlock,
    Weight,
)

if TYPE_CHECKING:
    from astra_core.storage import StoreEngine
    from astra_core.testing import FakeClock
    from astra_core.workflow import Keeper, Loaded

Parcels = Runner[Parcel, ParcelEvent, int, Weight]


async def test_an_instance_begins_and_is_found_again(parcels: Parcels) -> None:
    """It stands in the initial state at version 1, with its data and the timer of that state."""
    begun = await parcels.begin("p", Weight(70))
    assert (begun.state, begun.data, begun.version) == (Parcel.PACKED, Weight(70), 1)
    assert begun.kept.timers == {"Return": 1_030_000_000}
    assert await parcels.get("p") == begun
    assert await parcels.get("q") is None


async def test_an_instance_begins_once(parcels: Parcels) -> None:
    """A second beginning is a conflict, unless it bears the id of the first: then it finds what stands."""
    begun = await parcels.begin("p", Weight(70), id="a")
    assert await parcels.begin("p", Weight(5), id="a") == begun
    for other in ("", "b"):
        with pytest.raises(CommitConflict) as caught:
            await parcels.begin("p", Weight(70), id=other)
        assert caught.value.reason is ConflictReason.EXISTS


async def test_an_event_moves_state_data_and_version(parcels: Parcels) -> None:
    """What was decided is stored, and the instance answered is the one that is stored."""
    await parcels.begin("p", Weight(70))
    some = await parcels.send("p", Pay(cents=30))
    assert some.accepted
    assert (some.instance.state, some.instance.data.paid, some.instance.version) == (Parcel.PACKED, 30, 2)
    rest = await parcels.send("p", Pay(cents=40))
    assert (rest.instance.state, rest.instance.data.paid, rest.instance.version) == (Parcel.PAID, 70, 3)
    assert await parcels.get("p") == rest.instance


async def test_a_refused_event_writes_nothing(parcels: Parcels) -> None:
    """The decision says why; version, history and messages stay as they were."""
    begun = await parcels.begin("p", Weight(70))
    result = await parcels.send("p", Load(), id="x", also=[Insert(collection="fences", key="f", value=b"")])
    assert not result.accepted
    assert result.decision is not None
    assert result.decision.outcome is Outcome.REFUSED
    assert result.instance == begun == await parcels.get("p")
    assert len(await parcels.history("p")) == 1


async def test_nobody_there_is_said(parcels: Parcels) -> None:
    """An event to an unknown instance and one that the machine does not declare are mistakes of the sender."""
    with pytest.raises(UnknownInstance):
        await parcels.send("p", Load())
    with pytest.raises(UnknownInstance):
        await parcels.replay("p")
    assert await parcels.history("p") == ()
    await parcels.begin("p", Weight(70))
    with pytest.raises(UndeclaredEvent):
        await parcels.send("p", Unlock())  # type: ignore[arg-type]


async def test_a_history_says_who_when_what_and_why(parcels: Parcels, clock: FakeClock) -> None:
    """Every step is an entry, numbered from 1, read in pages."""
    await parcels.begin("p", Weight(70), by="ann", why="order 7", id="first")
    clock.advance(5)
    await parcels.send("p", Pay(cents=70), id="second", by="bob", why="due")
    one, two = await parcels.history("p")
    assert (one.id, one.event, one.at, one.source, one.target, one.by, one.why) == (
        "first", BEGIN, 1_000_000_000, "", "packed", "ann", "order 7",
    )  # fmt: skip
    assert (two.id, two.event, two.at, two.source, two.target, two.by, two.why) == (
        "second", "Pay", 1_005_000_000, "packed", "paid", "bob", "due",
    )  # fmt: skip
    assert bytes(two.data) == b'{"cents":70}'
    assert bytes(two.context) == b"70"
    assert await parcels.history("p", after=1) == [two]
    assert await parcels.history("p", limit=1) == [one]
    assert await parcels.replay("p") is Parcel.PAID


async def test_effects_and_events_leave_in_the_order_in_which_they_happened(
    parcels: Parcels, store: StoreEngine
) -> None:
    """Each taken event is told, and behind it come its effects; ids differ, the key is the instance's."""
    await parcels.begin("p", Weight(70))
    await parcels.send("p", Pay(cents=70))
    messages = await store.messages()
    assert [message.topic for message in messages] == ["parcels", "parcels", "acts", "acts"]
    assert {message.key for message in messages} == {"p"}
    assert len({message.id for message in messages}) == 4
    told = [Notice.read(message.data) for message in messages]
    assert [(each.version, each.entry.event, bytes(each.effect)) for each in told] == [
        (1, BEGIN, b"null"),
        (2, "Pay", b"null"),
        (2, "Pay", b'{"do":"print"}'),
        (2, "Pay", b'{"do":"thank"}'),
    ]


@pytest.mark.parametrize("length", [400, 495, 512])
async def test_messages_of_an_instance_with_a_long_key_can_be_published(
    parcels: Parcels, store: StoreEngine, length: int
) -> None:
    """Every id stays within what a broker takes, and is no other's; one that fits says the key."""
    keys = ["k" * length, "k" * (length - 1) + "l"]
    for key in keys:
        await parcels.begin(key, Weight(70))
        await parcels.send(key, Pay(cents=70))
    messages = await store.messages()
    check_outgoing([Outgoing(each.topic, each.key, each.data, each.id) for each in messages])
    assert len({message.id for message in messages}) == len(messages) == 8
    assert (messages[0].id == f"parcel:{keys[0]}:1:0") == (length < 500)


async def test_a_key_that_no_message_can_have_begins_nothing(parcels: Parcels, store: StoreEngine) -> None:
    """It is refused when the instance is made, not when its first effect is lost."""
    with pytest.raises(ValueError, match="513 characters, and a message's has at most 512"):
        await parcels.begin("k" * 513, Weight(70))
    assert await parcels.get("k" * 513) is None


async def test_a_duplicate_finds_what_stands(parcels: Parcels, store: StoreEngine) -> None:
    """Whether its event would still be taken or not, an id counts once; ids of other instances are others."""
    await parcels.begin("p", Weight(70))
    await parcels.begin("q", Weight(70))
    taken = await parcels.send("p", Pay(cents=30), id="a")
    again = await parcels.send("p", Pay(cents=30), id="a")
    assert again.duplicate
    assert again.accepted
    assert again.decision is None
    assert again.instance == taken.instance
    paid = await parcels.send("p", Pay(cents=40), id="b")
    assert (await parcels.send("p", Pay(cents=40), id="b")).duplicate
    assert await parcels.get("p") == paid.instance
    assert not (await parcels.send("q", Pay(cents=30), id="a")).duplicate


async def test_a_refused_id_may_come_again(parcels: Parcels) -> None:
    """What was refused has not happened, so its id is free."""
    await parcels.begin("p", Weight(70))
    assert not (await parcels.send("p", Load(), id="a")).accepted
    await parcels.send("p", Pay(cents=70))
    assert (await parcels.send("p", Load(), id="a")).instance.state is Parcel.SENT


async def test_concurrent_senders_all_happen(parcels: Parcels, told: list[object], store: StoreEngine) -> None:
    """Those who lose the race read and decide again: no payment is lost, none counts twice."""
    runner = Runner(PARCEL, store, keeper=Slow(RecordKeeper(PARCEL, store)), listeners=told.append)
    await runner.begin("p", Weight(1_000_000), state=Parcel.PACKED)
    await asyncio.gather(*(runner.send("p", Pay(cents=1), id=f"{number % 20}") for number in range(40)))
    instance = await runner.get("p")
    assert instance is not None
    assert (instance.data.paid, instance.version) == (20, 21)
    assert [event.outcome for event in told if isinstance(event, EventHandled)].count("duplicate") == 20
    assert any(isinstance(event, StepConflicted) for event in told)


async def test_who_never_gets_a_turn_is_told(store: StoreEngine, clock: FakeClock) -> None:
    """After `tries` conflicts the last one goes to the caller."""
    runner = Runner(PARCEL, store, clock=clock, keeper=Hasty(RecordKeeper(PARCEL, store), store), tries=2)
    await runner.begin("p", Weight(70))
    with pytest.raises(CommitConflict) as caught:
        await runner.send("p", Pay(cents=70))
    assert caught.value.reason is ConflictReason.VERSION


async def test_a_step_at_a_version(parcels: Parcels) -> None:
    """An event meant for one version happens to no other."""
    await parcels.begin("p", Weight(70))
    assert (await parcels.send("p", Pay(cents=1), at=1)).instance.version == 2
    with pytest.raises(CommitConflict) as caught:
        await parcels.send("p", Pay(cents=1), at=1, also=[Insert(collection="fences", key="f", value=b"")])
    assert (caught.value.reason, caught.value.write, caught.value.key) == (ConflictReason.VERSION, 1, "p")


async def test_a_duplicate_is_one_whatever_else_was_sent_with_it(parcels: Parcels, store: StoreEngine) -> None:
    """Sent again as it was, at its version and with its other writes, it is answered as what has happened."""
    await parcels.begin("p", Weight(70))
    also = [Insert(collection="fences", key="f", value=b"")]
    taken = await parcels.send("p", Pay(cents=30), id="a", at=1, also=also)
    for options in ({"at": 1}, {"also": also}, {"at": 1, "also": also}):
        again = await parcels.send("p", Pay(cents=30), id="a", **options)
        assert (again.duplicate, again.instance) == (True, taken.instance)
    with pytest.raises(CommitConflict) as caught:
        await parcels.send("p", Pay(cents=30), id="b", also=also)
    assert (caught.value.write, caught.value.key) == (0, "f")


async def test_a_beginning_is_known_by_its_id_whatever_was_written_with_it(parcels: Parcels) -> None:
    """Begun again as it was, the instance is found; the id of an event that it took later began nothing."""
    also = [Insert(collection="fences", key="f", value=b"")]
    begun = await parcels.begin("p", Weight(70), id="a", also=also)
    assert await parcels.begin("p", Weight(70), id="a", also=also) == begun
    with pytest.raises(CommitConflict) as caught:
        await parcels.begin("q", Weight(70), id="a", also=also)
    assert (caught.value.write, caught.value.key) == (0, "f")
    await parcels.send("p", Pay(cents=30), id="b")
    with pytest.raises(CommitConflict) as caught:
        await parcels.begin("p", Weight(5), id="b")
    assert caught.value.reason is ConflictReason.EXISTS


async def test_a_fence_holds_and_other_writes_join(parcels: Parcels, store: StoreEngine) -> None:
    """`also` is part of the commit; a requirement in it that fails refuses everything, and is not tried again."""
    await parcels.begin("p", Weight(70))
    await parcels.send("p", Pay(cents=1), also=[Insert(collection="fences", key="f", value=b"")])
    await parcels.send("p", Pay(cents=1), also=[Require(collection="fences", key="f", version=1)])
    with pytest.raises(CommitConflict) as caught:
        await parcels.send("p", Pay(cents=1), also=[Require(collection="fences", key="f", version=2)])
    assert (caught.value.write, caught.value.key) == (0, "f")
    instance = await parcels.get("p")
    assert instance is not None
    assert instance.data.paid == 2


async def test_a_requirement_holds_for_timers_before_a_refused_event(
    parcels: Parcels, store: StoreEngine, clock: FakeClock
) -> None:
    """A stale owner's refused event does not let timers write; of the rest of `also` nothing is written."""
    await parcels.begin("p", Weight(70))
    clock.advance(31)
    other = Insert(collection="fences", key="f", value=b"")
    with pytest.raises(CommitConflict):
        await parcels.send("p", Return(), also=[other, Require(collection="fences", key="g", version=1)])
    result = await parcels.send("p", Return(), also=[other])
    assert not result.accepted
    assert result.instance.state is Parcel.RETURNED
    assert await store.get("fences", "f") is None


async def test_due_timers_come_before_an_event(parcels: Parcels, clock: FakeClock, told: list[object]) -> None:
    """A payment that comes after the timer was due meets a parcel that went back, though nobody looked till then."""
    await parcels.begin("p", Weight(70))
    clock.advance(40)
    result = await parcels.send("p", Pay(cents=70))
    assert not result.accepted
    assert result.instance.state is Parcel.RETURNED
    last = (await parcels.history("p"))[-1]
    assert (last.event, last.at, last.by, last.id) == ("Return", 1_030_000_000, "timer", "Return@1030000000")
    assert TimerFired("parcel", "Return", "taken", 10.0) in told


async def test_firing_twice_changes_nothing(parcels: Parcels, clock: FakeClock) -> None:
    """Only what is due is written, and once."""
    begun = await parcels.begin("p", Weight(70))
    assert await parcels.fire("p") == begun
    clock.advance(30)
    fired = await parcels.fire("p")
    assert (fired.state, fired.version, dict(fired.kept.timers)) == (Parcel.RETURNED, 2, {})
    assert await parcels.fire("p") == fired


async def test_what_comes_too_early_waits(store: StoreEngine, clock: FakeClock) -> None:
    """Deferred events are stored and taken, oldest first, once their state has come; a full list refuses."""
    doors = Runner(DOOR, store, clock=clock)
    await doors.begin("d", None)
    early = await doors.send("d", Open(who="ann"), id="o", by="ann", why="cold")
    assert early.decision is not None
    assert early.decision.outcome is Outcome.DEFERRED
    assert (await doors.send("d", Open(who="ann"), id="o")).duplicate
    await doors.send("d", Close())
    full = await doors.send("d", Open(who="bob"))
    assert full.decision is not None
    assert full.decision.outcome is Outcome.REFUSED
    assert "2 events wait" in full.decision.reason
    result = await Runner(DOOR, store, clock=clock).send("d", Unlock())
    assert result.instance.state is Door.LOCKED
    assert result.instance.kept.deferred == ()
    entries = await doors.history("d")
    assert [entry.event for entry in entries] == [BEGIN, "Unlock", "Open", "Close"]
    assert (entries[2].id, entries[2].by, entries[2].why) == ("o", "ann", "cold")
    assert await doors.replay("d") is Door.LOCKED


async def test_the_outcomes_are_told(parcels: Parcels, told: list[object]) -> None:
    """One event of the runner for each that it handled."""
    await parcels.begin("p", Weight(70))
    await parcels.send("p", Pay(cents=70), id="a")
    await parcels.send("p", Pay(cents=70), id="a")
    await parcels.send("p", Pay(cents=70))
    assert told == [
        EventHandled("parcel", BEGIN, "begun"),
        EventHandled("parcel", "Pay", "taken"),
        EventHandled("parcel", "Pay", "duplicate"),
        EventHandled("parcel", "Pay", "refused"),
    ]


async def test_messages_are_parted_by_effect(parcels: Parcels, store: StoreEngine) -> None:
    """The entry of a state is an effect like any other."""
    await parcels.begin("p", Weight(70))
    await parcels.send("p", Pay(cents=70))
    await parcels.send("p", Load())
    effects = [Notice.read(message.data).effect for message in await store.messages() if message.topic == "acts"]
    assert [bytes(effect) for effect in effects][-1] == b'{"do":"track"}'
    assert Act("track") in PARCEL.machine.within[1].entry


async def test_a_first_entry_that_is_not_stored_is_number_one(store: StoreEngine, clock: FakeClock) -> None:
    """An application may make records itself and say what their first entry would be: pages and replay count it."""
    keeper = Unwritten(PARCEL, store)
    parcels = Runner(PARCEL, store, clock=clock, keeper=keeper)
    await store.commit(keeper.writes("p", None, Kept(state=Parcel.PACKED, data=Weight(70))))
    assert [entry.event for entry in await parcels.history("p")] == [BEGIN]
    assert await parcels.history("p", after=1) == []
    await parcels.send("p", Pay(cents=70))
    await parcels.send("p", Load())
    everything = await parcels.history("p")
    assert [entry.event for entry in everything] == [BEGIN, "Pay", "Load"]
    pages = [await parcels.history("p", after=after, limit=limit) for after, limit in ((0, 1), (0, 2), (1, 1), (2, 5))]
    assert pages == [everything[:1], everything[:2], everything[1:2], everything[2:]]
    assert await parcels.history("p", after=3) == []
    assert await parcels.replay("p") is Parcel.SENT


class Unwritten(RecordKeeper[Parcel, Weight]):
    """A keeper of records that were not made by a runner."""

    def first(self, key: str, loaded: Loaded[Parcel, Weight]) -> Entry | None:
        """Say how it began."""
        return Entry(id="made", event=BEGIN, at=0, target="packed")


class Slow:
    """A keeper that lets others run after each reading."""

    def __init__(self, keeper: Keeper[Parcel, Weight]) -> None:
        self._keeper = keeper
        self.writes, self.first = keeper.writes, keeper.first
        self.overdue, self.key = keeper.overdue, keeper.key

    async def load(self, key: str) -> Loaded[Parcel, Weight] | None:
        """Read it, and wait a turn."""
        loaded = await self._keeper.load(key)
        await asyncio.sleep(0)
        return loaded


class Hasty(Slow):
    """A keeper whose records are changed by somebody else after each reading."""

    def __init__(self, keeper: Keeper[Parcel, Weight], store: StoreEngine) -> None:
        super().__init__(keeper)
        self._store = store

    async def load(self, key: str) -> Loaded[Parcel, Weight] | None:
        """Read it, and touch it."""
        loaded = await self._keeper.load(key)
        if loaded is not None:
            kept: Kept[Parcel, Weight] = loaded.kept
            await self._store.commit(self._keeper.writes(key, loaded, kept))
        return loaded
