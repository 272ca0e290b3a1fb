"""Events of executors. No field holds a key: keys are without bound, and may be personal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ExecutorClosed", "TaskDeadLettered", "TaskRejected"]


@dataclass(frozen=True, slots=True)
class TaskRejected:
    """The executor `name` did not take a piece of work.

    `mailbox`: its key has `limit` waiting · `queue`: so many wait in all · `closed`: it takes no more.
    """

    name: str
    reason: Literal["mailbox", "queue", "closed"]
    limit: int


@dataclass(frozen=True, slots=True)
class TaskDeadLettered:
    """The executor `name` gave a piece of work up after `attempts` tries; `cause` is the last error's class name."""

    name: str
    attempts: int
    cause: str


@dataclass(frozen=True, slots=True)
class ExecutorClosed:
    """The executor `name` closed; `cut` pieces of work had not ended in time."""

    name: str
    cut: int
