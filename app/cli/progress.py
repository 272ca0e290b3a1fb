"""How far an import has come, for people: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.api.models import ImportView

__all__ = ["ProgressShown", "line_of", "size_of"]

_WIDTH = 30
_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""

_MEGABYTES = 100_000
"""Bytes from which on they are megabytes."""


class ProgressShown:
    """Shows an import each time that `show` is called, on a terminal in one line that is written over."""

    def __init__(self, stream: TextIO, *, monotonic: Callable[[], float]) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._monotonic = monotonic
        self._next = float("-inf")
        self._state = ""
        self._shown = 0

    def sending(self, sent: int, size: int) -> None:
        """So many bytes of the file were sent."""
        self._write("sending", f"{_bar(sent, size)}  sending, {size_of(sent)} of {size_of(size)}")

    def show(self, view: ImportView) -> None:
        """Show it as it is now."""
        self._write(view.state.value, line_of(view))

    def end(self) -> None:
        """Leave the last line standing."""
        if self._terminal and self._shown:
            print(file=self._stream, flush=True)
            self._shown = 0

    def _write(self, state: str, text: str) -> None:
        if self._terminal:
            print(f"\r{text:<{self._shown}}", end="", file=self._stream, flush=True)
            self._shown = len(text)
            return
        now = self._monotonic()
        if state != self._state or now >= self._next:
            print(f"astra: {text}", file=self._stream, flush=True)
            self._state, self._next = state, now + _EVERY


def size_of(count: int) -> str:
    """Return a number of bytes as people say it."""
    if count < 1_000:
        return f"{count} bytes"
    return f"{count / 1e3:,.1f} KB" if count < _MEGABYTES else f"{count / 1e6:,.1f} MB"


def line_of(view: ImportView) -> str:
    """Return what there is to say of an import, in one line."""
    parts = [_bar(view.bytes_read, view.size), view.state.value]
    if view.rows is not None:
        parts.append(f"{view.done:,} of {view.rows:,} rows")
    if view.rate is not None:
        parts.append(f"{view.rate:,.0f}/s")
        if view.rows is not None and view.state == "running" and view.rate:
            left = round((view.rows - view.done) / view.rate)
            parts.append(f"{left // 60}:{left % 60:02} left")
    if view.failed:
        parts.append(f"{view.failed:,} failed")
    return "  ".join(parts)


def _bar(done: int, whole: int) -> str:
    share = done / whole if whole else 0.0
    return f"[{'#' * int(share * _WIDTH):<{_WIDTH}}] {share:4.0%}"
