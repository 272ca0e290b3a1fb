"""How many keys run at once, and which is next."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from astra_core.keyed.mailbox import Job, Mailbox

__all__ = ["Turns"]


class Turns:
    """`free` permits to run, and the mailboxes that are ready for one, longest ready first.

    A mailbox has one turn and then queues again, so a busy key takes no more than its share. Work that waits for work
    it submitted lends its permit: with one permit in all, what it waits for could never begin otherwise.
    """

    __slots__ = ("_begin", "_ready", "free")

    def __init__(self, permits: int, begin: Callable[[Mailbox], None]) -> None:
        self.free = permits
        self._begin = begin
        self._ready: OrderedDict[Mailbox, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ready)

    def __repr__(self) -> str:
        return f"Turns(free={self.free}, ready={len(self)})"

    def give_back(self, job: Job) -> None:
        """Free the permit of `job`, if it holds one."""
        if job.permit:
            job.permit = False
            self.free += 1

    def take(self, job: Job) -> None:
        """Give `job` a permit unless it holds one, even where none is free: it goes on now, asked or not."""
        if not job.permit:
            job.permit = True
            self.free -= 1

    def queue(self, box: Mailbox) -> None:
        """Let `box` have a turn after those which are ready already."""
        self._ready[box] = None

    def forget(self, box: Mailbox) -> None:
        """Let `box` have no turn."""
        self._ready.pop(box, None)

    def give(self) -> None:
        """Let as many mailboxes begin as there are free permits."""
        while self.free > 0 and self._ready:
            self._begin(self._ready.popitem(last=False)[0])
