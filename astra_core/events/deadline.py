"""Events of deadlines."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DeadlineExpired"]


@dataclass(frozen=True, slots=True)
class DeadlineExpired:
    """Work under `name` was cut off after `budget` seconds; `own` is False when the caller had shortened that."""

    name: str
    budget: float
    own: bool
