"""Which requests are traced: a share of them, those that the caller traces, and never more than so many a second."""

from __future__ import annotations

import math
import random as random_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.clock import Clock

__all__ = ["TraceSampler"]

_NEVER: Final = 1 << 62


class TraceSampler:
    """Decides by the caller's word, else by chance: each request has the same chance `ratio`.

    Chance is drawn once for each that is taken, as the number of requests until the next one (a geometric gap), so a
    request that is not taken costs a subtraction: `gap`, moved by whoever asks. All together at most `per_second` are
    taken, in bursts of as many; `limited` counts those that were one too many, `taken` the others.
    """

    __slots__ = ("_burst", "_now", "_random", "_rate", "_ratio", "_refilled", "_tokens", "gap", "limited", "taken")

    def __init__(
        self,
        *,
        ratio: float,
        per_second: float,
        clock: Clock,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self.taken = 0
        self.limited = 0
        self._now = clock.monotonic
        self._random = random
        self._refilled = self._now()
        self.configure(ratio=ratio, per_second=per_second)
        self._tokens = self._burst

    def configure(self, *, ratio: float, per_second: float) -> None:
        """Change the share, 0 to 1, and the most a second, also while it decides."""
        self._ratio = ratio
        self._rate = per_second
        self._burst = max(1.0, per_second) if per_second else 0.0
        self._tokens = min(getattr(self, "_tokens", self._burst), self._burst)
        self.gap = self._next_gap()

    def by_chance(self) -> bool:
        """Decide on a request whose caller said nothing."""
        self.gap -= 1
        if self.gap > 0:
            return False
        self.gap = self._next_gap()
        return self.allows()

    def drawn(self) -> bool:
        """Decide on a request that found `gap` used up."""
        self.gap = self._next_gap()
        return self.allows()

    def allows(self) -> bool:
        """Whether one more may be taken just now."""
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._refilled) * self._rate)
        self._refilled = now
        if self._tokens < 1:
            self.limited += 1
            return False
        self._tokens -= 1
        self.taken += 1
        return True

    def _next_gap(self) -> int:
        if self._ratio >= 1:
            return 1
        if self._ratio <= 0:
            return _NEVER
        return 1 + min(_NEVER, int(math.log1p(-self._random()) / math.log1p(-self._ratio)))

    def __repr__(self) -> str:
        return f"<TraceSampler ratio={self._ratio} per_second={self._rate} taken={self.taken} limited={self.limited}>"
