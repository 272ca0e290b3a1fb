"""From a key to its slot, and from a slot to its owner: the same in every process, with nothing to agree on."""

from __future__ import annotations

import struct
from hashlib import shake_128
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["SLOTS", "SlotMap", "slot_of"]

SLOTS = 1024
"""Fixed for ever: a key never changes its slot."""
_MASK = SLOTS - 1
_draws = struct.Struct(f">{2 * SLOTS}Q")


def slot_of(key: str) -> int:
    """Return the slot of `key`, 0 to 1,023."""
    return crc32(key.encode()) & _MASK


class SlotMap:
    """Which of `names` owns which slot, by rendezvous hashing (Thaler and Ravishankar, 1998).

    Each name has a score for each slot, and the highest owns it. A name that joins takes only the slots for which it
    has the highest, one in n + 1, and when it leaves, only those go elsewhere. The scores of `known`, an earlier map,
    are not worked out again.
    """

    __slots__ = ("owners", "scores")

    def __init__(self, names: Iterable[str], *, known: SlotMap | None = None) -> None:
        earlier = {} if known is None else known.scores
        self.scores: Mapping[str, Sequence[int]] = {n: earlier.get(n) or _scores_of(n) for n in sorted(names)}
        self.owners: list[str | None] = [None] * SLOTS
        best = [-1] * SLOTS
        for name, scores in self.scores.items():
            for slot, score in enumerate(scores):
                if score > best[slot]:
                    best[slot], self.owners[slot] = score, name

    def owner_of(self, key: str) -> str | None:
        """Return who owns the slot of `key`; None when there is nobody."""
        return self.owners[crc32(key.encode()) & _MASK]

    def slots_of(self, name: str) -> frozenset[int]:
        """Return the slots that `name` owns."""
        return frozenset(slot for slot, owner in enumerate(self.owners) if owner == name)

    def __repr__(self) -> str:
        return f"SlotMap({', '.join(f'{name}={len(self.slots_of(name))}' for name in self.scores)})"


def _scores_of(name: str) -> Sequence[int]:
    """Return the scores of `name`: the numbers 0 to 1,023 in an order by chance, ties between names decided by chance.

    Independent scores would do, but then shares differ more: a newcomer among sixteen would take more than 7 % of the
    slots six times in a hundred. With the same scores for all, only their order differing, it does less than twice.
    """
    draws = _draws.unpack(shake_128(name.encode()).digest(_draws.size))
    scores = [0] * SLOTS
    for rank, slot in enumerate(sorted(range(SLOTS), key=draws.__getitem__)):
        scores[slot] = rank << 64 | draws[SLOTS + slot]
    return scores
