"""The port of what a commit appended: the events of an entity and the messages waiting in the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Event", "History", "Message"]


@dataclass(frozen=True, slots=True)
class Event:
    """One appended event; `number` counts from 1 in its stream and key, without gaps."""

    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the outbox; numbers grow in the order of commits."""

    number: int
    topic: str
    key: str
    data: bytes
    id: str = ""


class History(Protocol):
    """Reading side of `Append` and `Publish`."""

    async def events(self, stream: str, key: str, *, after: int = 0, limit: int = 1000) -> tuple[Event, ...]:
        """Return the events of one entity that follow number `after`, oldest first."""
        ...

    async def messages(self, *, after: int = 0, limit: int = 1000) -> tuple[Message, ...]:
        """Return outbox messages that follow number `after`, oldest first."""
        ...

    async def waiting(self) -> int:
        """Return how many messages the outbox holds."""
        ...
