"""Where the writer's thread waits for units, and the event loop tells it that there are enough."""

from __future__ import annotations

from threading import Lock

__all__ = ["Gathering"]


class Gathering:
    """One thread waits for a number of units, another tells how many there are.

    A lock that only the second gives back: a `threading.Condition` costs ten times as much, and a sleep ends too late.
    What is told in the moment in which a wait ends by itself may end the next one early, so who waits looks again.
    """

    __slots__ = ("_bell", "_wanted")

    def __init__(self) -> None:
        self._bell = Lock()
        self._bell.acquire()
        self._wanted = 0

    def wait(self, wanted: int, seconds: float) -> None:
        """Wait until `wanted` units are there, `seconds` at most."""
        self._bell.acquire(blocking=False)  # what came too late last time
        self._wanted = wanted
        self._bell.acquire(timeout=seconds)
        self._wanted = 0

    def tell(self, waiting: int) -> None:
        """Say that so many units wait."""
        if 0 < self._wanted <= waiting:
            self._wanted = 0
            self._bell.release()
