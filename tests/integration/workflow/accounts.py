"""The workflow of the crash proof, and where everything lies: accounts, their log, and a ledger that reads it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from astra_core.fsm import Decision, Machine, Timer, Transition, Unhandled, Within
from astra_core.keyed import BlockingPool
from astra_core.messaging import SqliteMessaging
from astra_core.storage import SqliteStore
from astra_core.workflow import REFUSED, Inbox, Workflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["ACCOUNTS", "KEYS", "SENDERS", "Account", "AccountEvent", "Balance", "Deposit", "Hold", "event", "opened"]

KEYS = tuple(f"k{number}" for number in range(5))
SENDERS = 4
HELD_FOR = 0.02


class Account(Enum):
    """Two states; what comes while it is held waits."""

    OPEN = "open"
    HELD = "held"


@dataclass(frozen=True)
class Deposit:
    """Money comes."""

    cents: int


@dataclass(frozen=True)
class Hold:
    """Nothing comes in for a moment."""


@dataclass(frozen=True)
class Release:
    """The moment is over."""


AccountEvent: TypeAlias = Deposit | Hold | Release


class Balance(Struct, frozen=True):
    """What an account holds."""

    cents: int = 0


def add(balance: Balance, decision: Decision[Account, AccountEvent], now: float) -> Balance:
    """Return the balance after a step."""
    return Balance(balance.cents + decision.event.cents) if isinstance(decision.event, Deposit) else balance


ACCOUNTS: Workflow[Account, AccountEvent, None, Balance] = Workflow(
    machine=Machine(
        name="account",
        states=Account,
        events=(Deposit, Hold, Release),
        initial=Account.OPEN,
        transitions=(
            Transition(Account.OPEN, Deposit, Account.OPEN, effects=("receipt",)),
            Transition(Account.OPEN, Hold, Account.HELD),
            Transition((Account.OPEN, Account.HELD), Release, Account.OPEN),
        ),
        within=(Within(states=Account.HELD, timers=(Timer(event=Release(), after=HELD_FOR),)),),
        unhandled=Unhandled.DEFER,
    ),
    data=Balance,
    evolve=add,
    topic="receipts",
    announce="accounts",
    deferred=1_000,
)


def event(number: int) -> tuple[str, AccountEvent]:
    """Return the key and the event of a number: what a sender sends again after a crash is the same."""
    return KEYS[number % len(KEYS)], Hold() if number % 23 == 0 else Deposit(number % 7 + 1)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[SqliteStore, SqliteStore, SqliteMessaging]]:
    """Open the store of the accounts, that of the ledger, and the log between them."""
    pools = [BlockingPool(f"pool {n}", threads=1 if n % 2 else 2, queue=64) for n in range(6)]
    ledger = (Inbox.collection("moves"), Inbox.collection("receipts"))
    try:
        async with (
            SqliteStore(
                folder / "accounts.db", collections=(*ACCOUNTS.collections, REFUSED), readers=pools[0], writer=pools[1]
            ) as accounts,
            SqliteStore(folder / "ledger.db", collections=ledger, readers=pools[2], writer=pools[3]) as books,
            SqliteMessaging(folder / "log.db", readers=pools[4], writer=pools[5]) as log,
        ):
            yield accounts, books, log
    finally:
        for pool in pools:
            await pool.close()
