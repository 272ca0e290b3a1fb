"""What a runner answers."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct

from astra_core.errors import AstraError

if TYPE_CHECKING:
    from astra_core.fsm import Decision
    from astra_core.workflow.entries import Kept

__all__ = ["Instance", "Result", "UnknownInstance"]

S = TypeVar("S", bound=Enum)
E = TypeVar("E")
D = TypeVar("D")


class Instance(Struct, Generic[S, D], frozen=True):
    """An instance as it stands, and the version of its record."""

    key: str
    version: int
    kept: Kept[S, D]

    @property
    def state(self) -> S:
        """Where it stands."""
        return self.kept.state

    @property
    def data(self) -> D:
        """What it holds besides."""
        return self.kept.data


class Result(Struct, Generic[S, E, D], frozen=True):
    """What came of an event: the instance as it stands after, and the decision.

    A `duplicate` was taken before: nothing happened now, and there is no decision.
    """

    instance: Instance[S, D]
    decision: Decision[S, E] | None
    duplicate: bool = False

    @property
    def accepted(self) -> bool:
        """Whether the event was taken, now or before."""
        return self.duplicate or (self.decision is not None and self.decision.accepted)


class UnknownInstance(AstraError, LookupError):  # noqa: N818 - says what it is
    """An event was sent to an instance that does not exist."""

    def __init__(self, workflow: str, key: str) -> None:
        self.workflow = workflow
        self.key = key
        super().__init__(f"workflow {workflow} has no instance {key!r}")
