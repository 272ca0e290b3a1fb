"""How many rows a commit takes: as many as keep the write lock for a set time, by what the last ones took."""

from __future__ import annotations

__all__ = ["SlicePace"]

_GROWTH = 1.25
_LEAST = 128
"""Rows below which a slice only pays the disk's sync more often: it takes as long for one row as for some."""
_MEMORY = 0.8
"""Share of the estimate that an easier slice leaves; a harder one counts at once."""


class SlicePace:
    """Follows the cost of a row. `most` rows, `hold` seconds of the lock, `pause` seconds between may be replaced."""

    def __init__(self, *, most: int, hold: float, pause: float) -> None:
        self.most = most
        self.hold = hold
        self.pause = pause
        self._rows = min(_LEAST, most)
        self._cost = 0.0

    @property
    def rows(self) -> int:
        """Rows of the next slice."""
        return min(self._rows, self.most)

    def observe(self, rows: int, seconds: float) -> None:
        """Learn that the lock was held `seconds` for `rows` rows."""
        cost = seconds / max(1, rows)
        self._cost = max(cost, self._cost * _MEMORY + cost * (1 - _MEMORY))
        wanted = self.hold / self._cost if self._cost else self.most
        self._rows = max(_LEAST, min(int(wanted), int(self._rows * _GROWTH)))

    def __repr__(self) -> str:
        return f"SlicePace(rows={self.rows}, hold={self.hold:g}, pause={self.pause:g})"
