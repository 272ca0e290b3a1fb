"""Standing between server and application: what is read ahead is kept, and waiting is measured."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from astra_core.middleware.inbox import MESSAGE, READ_AHEAD, Inbox
from astra_core.testing import FakeClock
from tests.unit.astra_core.middleware.client import Client, turns

if TYPE_CHECKING:
    from astra_core.asgi import Message


def inbox_of(client: Client, clock: FakeClock | None = None) -> Inbox:
    """Return an inbox for a client."""
    return Inbox(client.receive, (clock or FakeClock()).monotonic)


async def body(inbox: Inbox, parts: int) -> bytes:
    """Read so many parts as an application does."""
    return b"".join([(await inbox.receive())["body"] for _ in range(parts)])


@pytest.mark.parametrize("watched_after", [0, 1, 2])
async def test_reading_ahead_steals_nothing(watched_after: int) -> None:
    """Whenever the watch begins, the application gets every part in order, and then the departure, again and again."""
    client, gone = Client(b"a", b"b"), []
    inbox = inbox_of(client)
    read = await body(inbox, watched_after)
    inbox.watch(lambda: gone.append(True))
    await turns()
    assert read + await body(inbox, 2 - watched_after) == b"ab"
    inbox.watch(lambda: gone.append(True))
    await turns()
    assert (gone, inbox.disconnected) == ([], False)
    client.leave()
    await turns()
    assert (gone, inbox.disconnected) == ([True], True)
    assert [(await inbox.receive())["type"] for _ in range(2)] == ["http.disconnect"] * 2


async def test_so_much_is_read_ahead_and_no_more() -> None:
    """The rest of a large upload stays with the server until the application wants it."""
    part = b"x" * (READ_AHEAD // 4)
    client = Client(*[part] * 10)
    inbox = inbox_of(client)
    for _ in range(3):
        inbox.watch()
        await turns()
    assert client.received == 4
    assert await body(inbox, 4) == part * 4
    inbox.watch()
    await turns()
    assert client.received == 8
    assert await body(inbox, 6) == part * 6


@pytest.mark.parametrize(("more", "most"), [(True, READ_AHEAD // MESSAGE), (False, 1)])
async def test_messages_without_an_end_end_the_watch(more: bool, most: int) -> None:
    """Empty pieces of a body, or its end again and again: so many are kept, and nobody is kept busy."""
    given = 0

    async def receive() -> Message:
        nonlocal given
        given += 1
        assert given < 10_000
        return {"type": "http.request", "body": b"", "more_body": more}

    inbox = Inbox(receive, FakeClock().monotonic)
    for _ in range(3):
        inbox.watch()
        await turns()
    assert inbox.held is not None
    assert len(inbox.held) == most
    assert given <= most + 1
    assert not inbox.disconnected


async def test_an_application_may_wait_while_somebody_reads_ahead() -> None:
    """It gets the next message as soon as it comes; the wait can be cancelled, and nothing is lost by that."""
    client = Client(b"a", hold=0)
    inbox = inbox_of(client)
    inbox.watch()
    first, second = asyncio.ensure_future(inbox.receive()), asyncio.ensure_future(inbox.receive())
    await turns()
    assert (first.done(), inbox.reading) == (False, 2)
    first.cancel()
    client.go()
    assert (await second)["body"] == b"a"
    third, fourth = asyncio.ensure_future(inbox.receive()), asyncio.ensure_future(inbox.receive())
    await turns()
    client.leave()
    assert [(await each)["type"] for each in (third, fourth)] == ["http.disconnect"] * 2
    assert inbox.reading == 0


async def test_the_wait_for_the_body_is_measured_and_no_other() -> None:
    """Waiting for the departure, as streams do, is not waiting for the client."""
    clock, client = FakeClock(), Client(b"a", b"b", hold=1)
    inbox = inbox_of(client, clock)
    reading = asyncio.ensure_future(body(inbox, 2))
    await turns()
    await clock.run_for(3)
    client.go()
    assert await reading == b"ab"
    assert inbox.waited == 3.0
    leaving = asyncio.ensure_future(inbox.receive())
    await clock.run_for(3)
    client.leave()
    assert (await leaving)["type"] == "http.disconnect"
    assert (inbox.waited, inbox.disconnected) == (3.0, True)
    assert repr(inbox) == "<Inbox waited=3.000 s disconnected=True>"


async def test_a_wait_that_is_cancelled_is_measured_too() -> None:
    """As when a deadline cuts off a handler that waits for a slow client."""
    clock, client = FakeClock(), Client(b"a", hold=0)
    inbox = inbox_of(client, clock)
    reading = asyncio.ensure_future(inbox.receive())
    await clock.run_for(2)
    reading.cancel()
    await asyncio.wait([reading])
    assert (inbox.waited, inbox.reading) == (2.0, 0)


async def test_whether_the_client_has_left_is_known_at_once() -> None:
    """Without waiting for it, and whatever is still unread."""
    client = Client(b"a")
    inbox = inbox_of(client)
    assert not await inbox.left()
    client.leave()
    assert await inbox.left()
    told: list[bool] = []
    inbox.watch(lambda: told.append(True))
    assert told == [True]


async def test_closing_ends_the_reading() -> None:
    """No task stays behind."""
    before = asyncio.all_tasks()
    inbox = inbox_of(Client(b"a"))
    inbox.watch()
    await turns()
    assert len(asyncio.all_tasks()) == len(before) + 1
    inbox.close()
    await turns()
    assert asyncio.all_tasks() == before
    inbox.close()


async def test_a_server_that_fails_fails_for_the_application() -> None:
    """Whoever reads ahead says nothing of it."""
    errors: list[Exception] = [OSError("first"), OSError("second")]

    async def receive() -> Message:
        raise errors.pop(0)

    inbox = Inbox(receive, FakeClock().monotonic)
    inbox.watch()
    await turns()
    with pytest.raises(OSError, match="second"):
        await inbox.receive()
