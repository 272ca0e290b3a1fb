"""What is kept of an instance: where it stands, and one entry a step that it took."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BEGIN", "NULL", "Entry", "Kept", "Notice", "Occurrence"]

S = TypeVar("S", bound=Enum)
D = TypeVar("D")

BEGIN = "begin"
"""The event of the first entry of every history."""
NULL = Raw(b"null")


class Occurrence(Struct, frozen=True):
    """An event, its id, who sent it and why."""

    event: Any
    id: str
    by: str = ""
    why: str = ""


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event of a history, as stored. `at` is wall time in microseconds: of a timer, when it was due.

    `data` are the event's own fields, of the first entry the data that the instance began with. `context` is what the
    guards read, so that a history can be replayed from its entries alone.
    """

    id: str
    event: str
    at: int
    source: str = ""
    target: str
    by: str = ""
    why: str = ""
    data: Raw = NULL
    context: Raw = NULL


class Kept(Struct, Generic[S, D], frozen=True, kw_only=True):
    """An instance as it stands: its state and data, and when its timers are due, in microseconds, by their names.

    `deferred` came too early for its state and wait for a later one.
    """

    state: S
    data: D
    timers: Mapping[str, int] = {}
    deferred: tuple[Occurrence, ...] = ()

    @property
    def due(self) -> int | None:
        """When the first of its timers is due; None without one."""
        return min(self.timers.values(), default=None)


class Notice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of the outbox: the event that `key` took, and the effect to carry out unless it is null.

    `version` is the one that the record had afterwards, so of two notices of a key the later one has the higher.
    """

    workflow: str
    key: str
    version: int
    entry: Entry
    effect: Raw = NULL

    @classmethod
    def read(cls, data: bytes) -> Notice:
        """Return the notice that a message holds; raises `msgspec.DecodeError` for anything else."""
        return _read(data)


_read = msgspec.json.Decoder(Notice).decode
