"""Events of limiters and of throttling on the client side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CallRefused", "CallThrottled", "LimitChanged"]


@dataclass(frozen=True, slots=True)
class CallRefused:
    """The limiter `name` refused a call, its `limit` of calls at once being taken.

    `full`: so was its queue · `timeout`: no permit came in time · `displaced` from the queue by a call of higher
    priority · `key`: this key alone has too many.
    """

    name: str
    reason: Literal["full", "timeout", "displaced", "key"]
    limit: int
    priority: int = 0


@dataclass(frozen=True, slots=True)
class CallThrottled:
    """A call to `name` was dropped on our own side, as each is with this `probability` just now."""

    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class LimitChanged:
    """The adaptive limit of `name` moved."""

    name: str
    old: int
    new: int
