"""Processes that send events, relay and consume them, until they are killed; one may kill itself at a named point.

Nothing of the library knows of the points: they stand in wrappers round its ports.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

from astra_core.errors import StorageError
from astra_core.resilience import Constant
from astra_core.storage import Add, Append, Sent
from astra_core.workflow import Inbox, Notice, Relay, Runner, Subscriber, Sweeper
from tests.integration.workflow.accounts import (
    ACCOUNTS,
    KEYS,
    SENDERS,
    Account,
    AccountEvent,
    Balance,
    Deposit,
    event,
    opened,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from astra_core.messaging import Consumer, Outgoing, Received
    from astra_core.storage import Store, Write

PAUSE = 0.005
"""Between the events of a sender, so that relay and ledger keep up with them."""

AccountRunner = Runner[Account, AccountEvent, None, Balance]


class Points:
    """Kills this process at the n-th pass of one point."""

    def __init__(self, point: str = "", passes: int = 0) -> None:
        self._point = point
        self._left = passes

    def pass_by(self, point: str) -> None:
        """Go on, or die."""
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class Around:
    """A port with everything that it has, but for what a subclass puts points round."""

    def __init__(self, inner: Any, points: Points, what: str = "") -> None:
        self._inner = inner
        self._points = points
        self._what = what

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Committing(Around):
    """A store: points before and after each commit of a kind."""

    async def commit(self, writes: Sequence[Write]) -> tuple[int, ...]:
        """Commit."""
        what = "mark" if any(isinstance(write, Sent) for write in writes) else self._what
        self._points.pass_by(f"before {what}")
        results: tuple[int, ...] = await self._inner.commit(writes)
        self._points.pass_by(f"after {what}")
        return results


class Publishing(Around):
    """A publisher: points before, in the midst and behind each batch."""

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish."""
        self._points.pass_by("before publish")
        half = len(messages) // 2
        if half and self._points._point == "within publish":
            await self._inner.publish(messages[:half])
            self._points.pass_by("within publish")
            messages = messages[half:]
        await self._inner.publish(messages)
        self._points.pass_by("after publish")


class Acknowledging(Around):
    """A consumer: points before and after each acknowledgement."""

    async def acknowledge(self, through: Received | int) -> None:
        """Acknowledge."""
        self._points.pass_by("before acknowledge")
        await self._inner.acknowledge(through)
        self._points.pass_by("after acknowledge")


async def send(runner: AccountRunner, sender: int, number: int, acknowledged: int) -> None:
    """Send every event of one sender, from a number on, one after the other, and note which are acknowledged."""
    while True:
        key, what = event(number)
        try:
            await runner.send(key, what, id=f"n{number}", by=f"sender {sender}")
        except StorageError:
            continue
        os.write(acknowledged, b"%d %d\n" % (sender, number))
        number += SENDERS
        await asyncio.sleep(PAUSE)


def subscribers(books: Store, log: Any, points: Points) -> list[Subscriber]:
    """Return what enters every move and every receipt into the ledger, once; each delivery is counted beside."""

    async def move(message: Received) -> Sequence[Write]:
        await books.commit([Add(counters="delivered", amounts={"moves": 1})])
        entry = Notice.read(message.data).entry
        cents = ACCOUNTS.events["Deposit"](entry.data).cents if entry.event == Deposit.__name__ else 0
        return [
            Append(stream="moves", key=message.key, data=entry.id.encode()),
            Add(counters="cents", amounts={message.key: cents}),
        ]

    async def receipt(message: Received) -> Sequence[Write]:
        await books.commit([Add(counters="delivered", amounts={"receipts": 1})])
        return [Add(counters="receipts", amounts={message.key: 1})]

    def consumer(topic: str) -> Consumer:
        wrapped: Any = Acknowledging(log.consumer(topic, group="ledger"), points)
        return wrapped  # type: ignore[no-any-return]

    store: Any = Committing(books, points, "effect")
    return [
        Subscriber(consumer("accounts"), Inbox("moves", store), move, wait=0.05, backoff=Constant(0.02)),
        Subscriber(consumer("receipts"), Inbox("receipts", store), receipt, wait=0.05, backoff=Constant(0.02)),
    ]


def life(folder: Path, notes: Path, numbers: list[int], point: str, passes: int) -> None:
    """Send on from these numbers, and note `SENDER NUMBER` in a file once acknowledged, after the word `ready`."""
    acknowledged = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    asyncio.run(live(folder, acknowledged, numbers, Points(point, passes)))


def end(folder: Path) -> None:
    """Send nothing, and finish what others left."""
    asyncio.run(drain(folder))


async def live(folder: Path, acknowledged: int, numbers: list[int], points: Points) -> None:
    """Do everything at once until killed."""
    async with opened(folder) as (accounts, books, log):
        writing: Any = Committing(accounts, points, "write")
        firing: Any = Committing(accounts, points, "fire")
        publisher: Any = Publishing(log.publisher(), points)
        runner: AccountRunner = Runner(ACCOUNTS, writing)
        for key in KEYS:
            await runner.begin(key, Balance(), id="begin")
        os.write(acknowledged, b"ready\n")
        relay = Relay(writing, publisher, batch=20, idle=0.005)
        sweeper = Sweeper(Runner(ACCOUNTS, firing), firing, idle=0.02)
        await asyncio.gather(
            *(send(runner, sender, number, acknowledged) for sender, number in enumerate(numbers)),
            relay.run(),
            sweeper.run(),
            *(subscriber.run() for subscriber in subscribers(books, log, points)),
        )


async def drain(folder: Path) -> None:
    """Finish what was begun."""
    async with opened(folder) as (accounts, books, log):
        runner: AccountRunner = Runner(ACCOUNTS, accounts)
        relay, sweeper = Relay(accounts, log.publisher()), Sweeper(runner, accounts, idle=0.02)
        runs = [relay.run, sweeper.run, *(each.run for each in subscribers(books, log, Points()))]
        working = [asyncio.create_task(run()) for run in runs]
        while not await is_done(runner, accounts, log):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
        for task in working:
            task.cancel()
        await asyncio.wait(working)


async def is_done(runner: AccountRunner, accounts: Any, log: Any) -> bool:
    """Whether no event, timer or message waits anywhere."""
    kept = [instance.kept for key in KEYS if (instance := await runner.get(key))]
    if any(each.deferred or each.timers for each in kept) or await accounts.waiting():
        return False
    return not any(group.behind for topic in await log.topics() for group in topic.groups)
