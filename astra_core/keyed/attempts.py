"""What an executor does about a failed attempt when nothing else is said."""

from __future__ import annotations

__all__ = ["doubling", "every_error"]


def doubling(attempt: int) -> float:
    """Return the pause in seconds after failed attempt `attempt` (from 1): 50 ms, doubled each time up to 1 s."""
    return float(min(0.05 * 2 ** (attempt - 1), 1.0))


def every_error(error: Exception) -> bool:
    """Return True: another attempt is worth it."""
    return True
