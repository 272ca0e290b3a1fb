"""What of uvicorn's own lines is kept out of the log, or kept rare: strangers can have it write them at will."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from astra_core.clock import SystemClock

if TYPE_CHECKING:
    from astra_core.clock import Clock

__all__ = ["ServerLines"]

_UNHEARD = (
    "Application startup failed. Exiting.",  # the parent says why
    "Unsupported upgrade request.",  # it is answered as the request that it is
    "No supported WebSocket library detected.",
)
_SELDOM = "Invalid HTTP request received."
_PAUSE = 10.0
"""Seconds between two lines on requests that are no HTTP."""


class ServerLines(logging.Filter):
    """Passes the others on, and one in ten seconds of those on invalid requests, with the number of the rest."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__()
        self._now = (clock or SystemClock()).monotonic
        self._next = float("-inf")
        self._unheard = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide on one line."""
        text = str(record.msg)
        if text.startswith(_UNHEARD):
            return False
        if text != _SELDOM:
            return True
        now = self._now()
        if now < self._next:
            self._unheard += 1
            return False
        if self._unheard:
            record.msg = f"{text} So were {self._unheard} before it."
        self._next, self._unheard = now + _PAUSE, 0
        return True

    def __repr__(self) -> str:
        return f"<ServerLines unheard={self._unheard}>"
