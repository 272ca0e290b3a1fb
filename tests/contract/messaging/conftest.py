"""Every engine of the messaging ports, behind one fixture."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from astra_core.events import Listeners, MessagesTrimmed
from astra_core.messaging import MemoryMessaging, Retain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from astra_core.messaging import Consumer, MessagingEngine, Received

KINDS = ("memory",)


class Opener(Protocol):
    """Opens an engine of the kind under test, empty or as it was left in the test's folder."""

    def __call__(self, *listeners: Any, retain: Retain = ...) -> AbstractAsyncContextManager[MessagingEngine]:
        """Open it with these bounds and listeners."""
        ...


@asynccontextmanager
async def open_engine(kind: str, folder: Path, listeners: Listeners, retain: Retain) -> AsyncIterator[MessagingEngine]:
    """Open an engine of the given kind."""
    async with MemoryMessaging(retain=retain, listeners=listeners) as memory:
        yield memory


@pytest.fixture(params=KINDS)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """What opens an engine, for tests that need several or bounds of their own."""

    def opens(*listeners: Any, retain: Retain | None = None) -> AbstractAsyncContextManager[MessagingEngine]:
        return open_engine(request.param, tmp_path, Listeners(*listeners), retain or Retain(slack=0))

    return opens


@pytest.fixture
async def engine(opener: Opener) -> AsyncIterator[MessagingEngine]:
    """An open engine without messages, which trims at once."""
    async with opener() as opened:
        yield opened


@pytest.fixture
def trims() -> list[MessagesTrimmed]:
    """A listener's notes."""
    return []


async def drain(consumer: Consumer, *, limit: int = 100) -> list[Received]:
    """Receive until there is nothing more at once."""
    received: list[Received] = []
    while batch := await consumer.receive(limit=limit):
        received += batch
    return received


def datas(messages: Sequence[Received]) -> list[bytes]:
    """What the messages hold."""
    return [message.data for message in messages]
