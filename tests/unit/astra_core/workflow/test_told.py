"""What a history holds of an event, and of who sent it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from astra_core.fsm import Machine, Timer, Transition, Within
from astra_core.storage import MemoryStore
from astra_core.testing import FakeClock
from astra_core.workflow import Runner, Workflow


class Safe(Enum):
    """The states of a safe."""

    OPEN = "open"
    SHUT = "shut"


@dataclass(frozen=True)
class Shut:
    """Shut it with a number."""

    number: int | None = None


@dataclass(frozen=True)
class Warm:
    """It got too warm to stay shut."""


def remember(data: int, decision: object, now: float) -> int:
    """Return the number that opens it."""
    event = getattr(decision, "event", None)
    return event.number or data if isinstance(event, Shut) else data


SAFE: Workflow[Safe, Shut | Warm, None, int] = Workflow(
    machine=Machine(
        name="safe",
        states=Safe,
        events=(Shut, Warm),
        initial=Safe.OPEN,
        transitions=(Transition(Safe.OPEN, Shut, Safe.SHUT), Transition(Safe.SHUT, Warm, Safe.OPEN)),
        within=(Within(states=Safe.SHUT, timers=(Timer(event=Warm(), after=5.0, by="thermometer"),)),),
    ),
    data=int,
    evolve=remember,
    told=lambda event: replace(event, number=None) if isinstance(event, Shut) else event,
    announce="safes",
)


async def test_what_must_not_be_told_is_taken_out_of_history_and_messages() -> None:
    """`told` says what is written down of an event; the data after it knows all of it, and it can be replayed."""
    clock = FakeClock(time=1_000.0)
    async with MemoryStore(collections=SAFE.collections) as store:
        safes = Runner(SAFE, store, clock=clock)
        await safes.begin("s", 0)
        assert (await safes.send("s", Shut(number=4711))).instance.data == 4711
        written = [entry.data for entry in await safes.history("s", after=1)]
        assert [bytes(data) for data in written] == [b'{"number":null}']
        assert not any(b"4711" in message.data for message in await store.messages())
        assert await safes.replay("s") is Safe.SHUT


async def test_a_timer_says_who_it_is() -> None:
    """Some are no clocks: `by` names what a history tells of them."""
    clock = FakeClock(time=1_000.0)
    async with MemoryStore(collections=SAFE.collections) as store:
        safes = Runner(SAFE, store, clock=clock)
        await safes.begin("s", 0)
        await safes.send("s", Shut())
        clock.advance(5.0)
        await safes.fire("s")
        assert [(entry.event, entry.by) for entry in await safes.history("s", after=2)] == [("Warm", "thermometer")]
