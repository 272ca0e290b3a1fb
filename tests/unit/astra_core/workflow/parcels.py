"""A workflow with all that one can declare, and another that defers, for the tests of this folder."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from astra_core.fsm import Decision, Machine, Timer, Transition, Unhandled, Within, predicate
from astra_core.keyed import BlockingPool
from astra_core.storage import Collection, MemoryStore, SqliteStore
from astra_core.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from astra_core.storage import StoreEngine

__all__ = [
    "DOOR", "PARCEL", "Act", "Close", "Door", "Load", "Lose", "Open", "Parcel", "ParcelEvent", "Pay", "Return",
    "Unlock", "Weight", "open_store",
]  # fmt: skip


class Parcel(Enum):
    """The states of a parcel."""

    PACKED = "packed"
    PAID = "paid"
    SENT = "sent"
    RETURNED = "returned"
    LOST = "lost"


@dataclass(frozen=True)
class Pay:
    """Somebody pays."""

    cents: int


@dataclass(frozen=True)
class Load:
    """It goes on a lorry."""


@dataclass(frozen=True)
class Return:
    """It comes back."""


@dataclass(frozen=True)
class Lose:
    """Nobody saw it for too long."""


ParcelEvent: TypeAlias = Pay | Load | Return | Lose


class Weight(Struct, frozen=True):
    """What a parcel holds besides its state: grams, what was paid so far, and when it is lost."""

    grams: int
    paid: int = 0
    lost_at: float | None = None


class Act(Struct, frozen=True):
    """An effect."""

    do: str


def price(weight: Weight, now: float) -> int:
    """Return the cents that are missing: what the guards read."""
    return weight.grams - weight.paid


def pay(weight: Weight, decision: Decision[Parcel, ParcelEvent], now: float) -> Weight:
    """Return what a parcel holds after a step."""
    if isinstance(decision.event, Pay):
        return replace(weight, paid=weight.paid + decision.event.cents)
    if decision.target is Parcel.SENT:
        return replace(weight, lost_at=now + 50.0)
    return weight


@predicate
def is_enough(event: Pay, missing: int) -> bool:
    """Whether nothing is missing after this."""
    return event.cents >= missing


_PARCEL: Machine[Parcel, ParcelEvent, int] = Machine(
    name="parcel",
    states=Parcel,
    events=(Pay, Load, Return, Lose),
    initial=Parcel.PACKED,
    final=(Parcel.LOST,),
    transitions=(
        Transition(Parcel.PACKED, Pay, Parcel.PAID, is_enough, effects=(Act("print"), Act("thank"))),
        Transition(Parcel.PACKED, Pay, Parcel.PACKED),
        Transition(Parcel.PAID, Load, Parcel.SENT),
        Transition(Parcel.SENT, Return, Parcel.PAID),
        Transition((Parcel.PAID, Parcel.PACKED), Return, Parcel.RETURNED),
        Transition(Parcel.RETURNED, Load, Parcel.PACKED),
        Transition((Parcel.PACKED, Parcel.SENT), Lose, Parcel.LOST),
    ),
    within=(
        Within(states=Parcel.PACKED, timers=(Timer(event=Return(), after=30.0),)),
        Within(
            states=Parcel.SENT,
            entry=(Act("track"),),
            timers=(Timer(event=Lose(), at=lambda weight: weight.lost_at),),
        ),
    ),
)

PARCEL: Workflow[Parcel, ParcelEvent, int, Weight] = Workflow(
    machine=_PARCEL, data=Weight, reads=int, context=price, evolve=pay, topic="acts", announce="parcels"
)


class Door(Enum):
    """The states of a door."""

    LOCKED = "locked"
    SHUT = "shut"
    OPEN = "open"


@dataclass(frozen=True)
class Unlock:
    """Unlock it."""


@dataclass(frozen=True)
class Open:
    """Open it, whoever pushes."""

    who: str = ""


@dataclass(frozen=True)
class Close:
    """Shut and lock it."""


DOOR: Workflow[Door, Unlock | Open | Close, None, None] = Workflow(
    machine=Machine(
        name="door",
        states=Door,
        events=(Unlock, Open, Close),
        initial=Door.LOCKED,
        transitions=(
            Transition(Door.LOCKED, Unlock, Door.SHUT),
            Transition(Door.SHUT, Open, Door.OPEN),
            Transition(Door.OPEN, Close, Door.LOCKED),
        ),
        unhandled=Unhandled.DEFER,
    ),
    data=type(None),
    deferred=2,
)

COLLECTIONS = (*PARCEL.collections, *DOOR.collections, Collection(name="fences"))


@asynccontextmanager
async def open_store(
    kind: str, folder: Path, collections: Sequence[Collection] = COLLECTIONS
) -> AsyncIterator[StoreEngine]:
    """Open a store of a kind, empty or as it was left in `folder`."""
    if kind == "memory":
        async with MemoryStore(collections=collections) as memory:
            yield memory
        return
    writer, readers = BlockingPool("writer", threads=1, queue=64), BlockingPool("readers", threads=2, queue=64)
    try:
        async with SqliteStore(folder / "store.db", collections=collections, writer=writer, readers=readers) as store:
            yield store
    finally:
        await writer.close()
        await readers.close()
