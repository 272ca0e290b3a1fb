"""One topic in memory: its messages, and how far its groups have come."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from astra_core.events import MessagesTrimmed
from astra_core.messaging.messages import GroupState, Received, TopicState, weight

if TYPE_CHECKING:
    from astra_core.messaging.messages import Outgoing
    from astra_core.messaging.retain import Retain

__all__ = ["MemoryGroup", "MemoryTopic"]


class MemoryGroup:
    """A group of one topic."""

    __slots__ = ("lost", "position")

    def __init__(self, position: int) -> None:
        self.position = position
        self.lost = 0


class MemoryTopic:
    """Messages in order, without holes in their offsets: the oldest one kept has `before` + 1, the newest `last`."""

    def __init__(self, name: str, retain: Retain) -> None:
        self._name = name
        self._retain = retain
        self._kept: deque[tuple[Received, int]] = deque()
        self._weight = 0
        self.last = 0
        self.groups: dict[str, MemoryGroup] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def before(self) -> int:
        """The offset before the oldest one kept."""
        return self.last - len(self._kept)

    def append(self, message: Outgoing) -> None:
        """Keep one more message."""
        self.last += 1
        self._weight += (counts := weight(message))
        self._kept.append((Received(self.last, self._name, message.key, message.data, message.id), counts))

    def read(self, after: int, limit: int) -> list[Received]:
        """Return up to `limit` messages that follow offset `after`."""
        begin = max(0, after - self.before)
        return [self._kept[place][0] for place in range(begin, min(begin + limit, len(self._kept)))]

    def group(self, name: str) -> MemoryGroup:
        """Return a group; a new one begins with the oldest message."""
        if name not in self.groups:
            self.groups[name] = MemoryGroup(self.before)
        return self.groups[name]

    def bound(self) -> MessagesTrimmed | None:
        """Drop the oldest messages as far as there is no room for them."""
        before, lost = self.before, dict[str, int]()
        while len(self) > 1 and (len(self) > self._retain.messages or self._weight > self._retain.weight):
            self._drop()
        for name, group in self.groups.items():
            if group.position < self.before:
                lost[name] = self.before - max(group.position, before)
                group.lost += lost[name]
        return MessagesTrimmed(self._name, self.before - before, lost) if self.before > before else None

    def trim(self) -> MessagesTrimmed | None:
        """Drop what every group has acknowledged, once that is more than the slack."""
        before = self.before
        slowest = min((group.position for group in self.groups.values()), default=before)
        if slowest - before > self._retain.slack:
            while self.before < slowest:
                self._drop()
        return MessagesTrimmed(self._name, self.before - before, {}) if self.before > before else None

    def state(self) -> TopicState:
        """Return what is kept, and for whom."""
        groups = tuple(
            GroupState(name, group.position, self.last - max(group.position, self.before), group.lost)
            for name, group in sorted(self.groups.items())
        )
        return TopicState(self._name, self.last, len(self), self._weight, groups)

    def _drop(self) -> None:
        self._weight -= self._kept.popleft()[1]
