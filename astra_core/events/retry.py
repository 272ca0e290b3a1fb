"""Events of retry policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CallHedged", "RetryGivenUp", "RetryScheduled", "RetrySucceeded"]


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """Try number `attempt` (from 1) of a call to `name` failed by `cause`; the next one follows after `wait` seconds.

    `cause` is the error's class name, or `result` when the result predicate asked for the retry.
    """

    name: str
    attempt: int
    wait: float
    cause: str


@dataclass(frozen=True, slots=True)
class RetrySucceeded:
    """Try number `attempt`, from 2, of a call to `name` did what those before it had not."""

    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class RetryGivenUp:
    """A failure of `name` that could have been retried went to the caller after `attempt` tries, and why.

    `attempts` all are used up · `budget` holds no retry · `deadline` comes before the wait would end · `unsafe`: the
    call is not idempotent and may have left.
    """

    name: str
    attempt: int
    reason: Literal["attempts", "budget", "deadline", "unsafe"]
    cause: str


@dataclass(frozen=True, slots=True)
class CallHedged:
    """A call to `name` had no answer after `waited` seconds, so a second copy was sent."""

    name: str
    waited: float
