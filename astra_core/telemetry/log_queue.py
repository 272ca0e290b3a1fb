"""A bounded queue of log lines and the thread that writes them, so that no caller ever waits for an output."""

from __future__ import annotations

import os
import queue
import select
import threading
from typing import TYPE_CHECKING, Protocol, TextIO

from astra_core.telemetry.log_line import Line

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LineFormat", "LogQueue"]

_BATCH = 256
_ATOM = 4096  # bytes that fit into a pipe which `poll` calls writable (PIPE_BUF of Linux)
_PATIENCE = 0.1  # seconds that a line may wait for the output once the thread is gone


class LineFormat(Protocol):
    """How a line looks."""

    def encode(self, line: Line) -> str:
        """Return the line, with its line feed."""
        ...


_GATHER = 0.2
"""Seconds for which lines are gathered before they are written: a thread that wakes for each line takes the interpreter
from the loop each time, which cost a request ten times what the line did."""


class LogQueue:
    """At most `bound` lines wait; more are dropped and counted, and a line says so once there is room again.

    `format` may be replaced at any time. After `close` a line is written by its caller, which waits at most 0.1 s: that
    is for the last words of a server. A broken output costs the lines and raises nowhere; `failed` counts it.
    """

    def __init__(self, stream: TextIO, *, bound: int, format: LineFormat, note: Callable[[int], Line]) -> None:  # noqa: A002 - its name
        self.format = format
        self.bound = bound
        self.dropped = 0
        self.failed = 0
        self._stream = stream
        self._note = note
        self._told = 0
        self._lines: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._closing = threading.Event()
        self._descriptor = _descriptor(stream)

    @property
    def queued(self) -> int:
        """Lines that wait to be written."""
        return self._lines.qsize()

    def start(self) -> None:
        """Start the thread; a daemon, since an output that nobody reads must not hold the process."""
        self._thread = threading.Thread(target=self._run, name="astra-logs", daemon=True)
        self._thread.start()

    def put(self, line: Line) -> None:
        """Take a line. Never blocks before `close`."""
        if self._closed:
            self._write_now(line)
        elif self._lines.qsize() >= self.bound:
            self.dropped += 1
        else:
            self._lines.put(line)

    def close(self, timeout: float = 0.5) -> bool:
        """Write what waits, for at most `timeout` seconds; return whether all of it was written."""
        if not self._closed:
            self._closed = True
            self._lines.put(None)
            self._closing.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _run(self) -> None:
        going = True
        while going:
            batch: list[Line] = []
            line = self._lines.get()
            if line is not None:
                self._closing.wait(_GATHER)
            while line is not None:
                batch.append(line)
                if len(batch) == _BATCH:
                    break
                try:
                    line = self._lines.get_nowait()
                except queue.Empty:
                    break
            going = line is not None
            self._write(batch, self._send)

    def _write(self, batch: list[Line], send: Callable[[str], None]) -> None:
        lost = self.dropped - self._told
        texts = [self._encoded(line) for line in batch]
        if lost:
            texts.append(self._encoded(self._note(lost)))
        try:
            if texts:
                send("".join(texts))
            self._told += lost
        except (OSError, ValueError):  # ValueError: the stream was closed
            self.failed += 1
            self.dropped += len(batch)

    def _encoded(self, line: Line) -> str:
        try:
            return self.format.encode(line)
        except Exception as error:  # a line that cannot be shown must not cost the others
            bare = Line(line.time, line.level, "astra.logs", f"a line was lost: {type(error).__name__}", {}, {})
            return self.format.encode(bare)

    def _write_now(self, line: Line) -> None:
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(_PATIENCE)
            if thread.is_alive():  # the output is stuck: another writer would be too
                self.dropped += 1
                return
        self._write([line], self._send_soon)

    def _send(self, text: str) -> None:
        if self._descriptor is None:
            self._stream.write(text)
            self._stream.flush()
            return
        # Not through the stream: its lock, held by a stuck daemon thread, would abort the interpreter at its end.
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                _writable(self._descriptor, None)

    def _send_soon(self, text: str) -> None:
        if self._descriptor is None:
            self._send(text)
            return
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            if not _writable(self._descriptor, _PATIENCE):
                raise TimeoutError
            data = data[os.write(self._descriptor, data[:_ATOM]) :]


def _writable(descriptor: int, seconds: float | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def _descriptor(stream: TextIO) -> int | None:
    try:
        stream.flush()
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
