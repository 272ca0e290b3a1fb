"""How much of a topic is kept for groups that lag behind, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Retain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retain:
    """Bounds of each topic. What every group has acknowledged goes anyway; beyond a bound the oldest messages go too.

    A topic that no group reads yet is kept for the first one, within the bounds. The newest message always stays.
    """

    messages: int = 1_000_000
    """The most messages kept."""
    weight: int = 256 * 1024 * 1024
    """The most bytes kept, as `weight` counts them."""
    slack: int = 1_000
    """Messages that no group needs and that may stay, so that each trim is worth its write."""

    def __post_init__(self) -> None:
        if self.messages < 1 or self.weight < 1 or self.slack < 0:
            raise ValueError(f"messages and weight are at least 1, slack is at least 0: {self}")
