"""Events of pools of threads."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PoolWaited"]


@dataclass(frozen=True, slots=True)
class PoolWaited:
    """A call to the pool `pool` ended that had waited `seconds` for a thread."""

    pool: str
    seconds: float
