"""How long to wait before a retry: exponential backoff with jitter, or a constant.

Source: Marc Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015. Its measurement: without jitter
colliding clients stay in step and collide again; full jitter needs the fewest calls in all, decorrelated jitter about
as few, equal jitter more, but it never waits almost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from random import Random

__all__ = ["Backoff", "Constant", "DecorrelatedJitter", "EqualJitter", "FullJitter"]


class Backoff(Protocol):
    """Says how long to wait, and keeps nothing: one value serves every caller at once."""

    def delay(self, retry: int, previous: float, random: Random) -> float:
        """Seconds to wait before the `retry`-th retry (from 1); `previous` is the wait before this one, 0 at first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exponential:
    """A wait that grows from `base` seconds by `multiplier` with each retry, never past `cap` seconds."""

    base: float = 0.1
    cap: float = 10.0
    multiplier: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.base <= self.cap or self.multiplier < 1:
            raise ValueError(f"a backoff needs 0 < base <= cap and a multiplier of 1 or more: {self}")

    def ceiling(self, retry: int) -> float:
        """The longest wait before the `retry`-th retry: `min(cap, base * multiplier ** (retry - 1))`."""
        try:
            return min(self.cap, self.base * self.multiplier ** (retry - 1))
        except OverflowError:
            return self.cap


@dataclass(frozen=True, slots=True, kw_only=True)
class FullJitter(_Exponential):
    """A wait drawn evenly between 0 and the ceiling: `random(0, min(cap, base * multiplier ** n))`. The default."""

    def delay(self, retry: int, previous: float, random: Random) -> float:
        """Seconds to wait before the `retry`-th retry."""
        return random.uniform(0.0, self.ceiling(retry))


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualJitter(_Exponential):
    """Half of the ceiling, and a random part of its other half: `ceiling / 2 + random(0, ceiling / 2)`."""

    def delay(self, retry: int, previous: float, random: Random) -> float:
        """Seconds to wait before the `retry`-th retry."""
        half = self.ceiling(retry) / 2
        return half + random.uniform(0.0, half)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecorrelatedJitter(_Exponential):
    """A wait that depends on the one before: `min(cap, random(base, previous * 3))`; the 3 is `multiplier` here."""

    multiplier: float = 3.0

    def delay(self, retry: int, previous: float, random: Random) -> float:
        """Seconds to wait before the `retry`-th retry."""
        return min(self.cap, random.uniform(self.base, max(self.base, previous * self.multiplier)))


@dataclass(frozen=True, slots=True)
class Constant:
    """The same wait each time, give or take the share `jitter` of it (0.1 is ten per cent)."""

    seconds: float
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.seconds < 0 or not 0 <= self.jitter <= 1:
            raise ValueError(f"a constant wait needs seconds >= 0 and a jitter from 0 to 1: {self}")

    def delay(self, retry: int, previous: float, random: Random) -> float:
        """Seconds to wait before the `retry`-th retry."""
        return self.seconds * random.uniform(1.0 - self.jitter, 1.0 + self.jitter)
