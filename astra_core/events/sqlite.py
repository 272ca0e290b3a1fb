"""Events of the embedded engine's writer."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GroupCommitted", "WriterContended"]


@dataclass(frozen=True, slots=True)
class GroupCommitted:
    """One transaction of `size` units was made durable in `seconds`, after `waited` seconds for the write lock."""

    size: int
    seconds: float
    waited: float


@dataclass(frozen=True, slots=True)
class WriterContended:
    """Another connection held the write lock: `tries` refusals over `waited` seconds before it was ours."""

    tries: int
    waited: float
