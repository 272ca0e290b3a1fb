"""One logging set-up for our code, uvicorn's and hypercorn's, on the standard library; docs/logging.md explains it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from astra_core.clock import SystemClock
from astra_core.telemetry.log_format import JsonFormat, PrettyFormat
from astra_core.telemetry.log_line import Line, level_of, line_of
from astra_core.telemetry.log_queue import LogQueue
from astra_core.telemetry.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astra_core.clock import Clock
    from astra_core.telemetry.log_queue import LineFormat

__all__ = ["Logs"]

SERVERS = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "hypercorn", "hypercorn.error")
ACCESS = ("uvicorn.access", "hypercorn.access")
TALKATIVE = ("hpack.hpack", "hpack.table")
"""At debug they tell every header of every HTTP/2 request, secrets of callers among them, in a form that no redactor
knows."""
LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("auto", "json", "pretty")


class Logs:
    """Takes over logging from `install` to `uninstall`; lines are written by a thread, from a queue of `queue` lines.

    `level` is one of debug, info, warning, error; `format` is json, pretty, or auto: pretty on a terminal. `stream` is
    `sys.stderr` of the moment of `install` if None. With `own`, names of loggers, debug is theirs alone and all others
    are heard from info on: libraries tell at debug what only their authors read. Install it in the process that logs: a
    thread does not survive a fork. `lines` counts by level what was logged, `dropped` what was not written, `failed`
    the writes that failed.
    """

    def __init__(
        self,
        *,
        level: str = "info",
        format: str = "auto",  # noqa: A002 - the name of the setting
        queue: int = 10_000,
        own: Sequence[str] = (),
        stream: TextIO | None = None,
        clock: Clock | None = None,
        redactor: Redactor | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.lines: dict[str, int] = dict.fromkeys(LEVELS, 0)
        self._level = _one_of(level, LEVELS)
        self._format = _one_of(format, FORMATS)
        self._bound = queue
        self._own = tuple(own)
        self._stream = stream
        self._clock = clock or SystemClock()
        self._redactor = redactor or Redactor()
        self._environ = environ
        self._queue: LogQueue | None = None
        self._handler: _Handler | None = None
        self._before: list[_Before] = []
        self._took_warnings = False
        self._dropped = self._failed = 0

    @property
    def dropped(self) -> int:
        """Lines that were not written: the queue was full, or the output broken."""
        return self._dropped + (0 if self._queue is None else self._queue.dropped)

    @property
    def failed(self) -> int:
        """Writes that the output refused."""
        return self._failed + (0 if self._queue is None else self._queue.failed)

    @property
    def queued(self) -> int:
        """Lines that wait to be written."""
        return 0 if self._queue is None else self._queue.queued

    def install(self) -> None:
        """Take over the root logger, the servers' loggers and warnings; a second call changes nothing."""
        if self._handler is not None:
            return
        stream = self._stream or sys.stderr
        self._queue = LogQueue(stream, bound=self._bound, format=self._made(stream), note=self._note)
        self._queue.start()
        self._handler = _Handler(self._queue, self.lines, self._clock)
        self._take("", [self._handler], None, [])
        for name in self._own:
            self._before.append(_Before.of(logging.getLogger(name)))
        self._set_level()
        for name in SERVERS:
            self._take(name, [], None, [_Diverted(self._handler)])  # with the level that the server was told
        for name in ACCESS:  # uvicorn asks for handlers and skips the work; hypercorn adds its own later, past which
            self._take(name, [], "CRITICAL", [_Dropped()], propagate=False)  # only a filter stands
        for name in TALKATIVE:
            self._take(name, [], "WARNING", [_Diverted(self._handler)])
        shown = warnings.showwarning
        logging.captureWarnings(True)
        self._took_warnings = warnings.showwarning is not shown

    def uninstall(self) -> None:
        """Give everything back as it was, after writing what waits (at most 0.5 s)."""
        if self._handler is None or self._queue is None:
            return
        for before in reversed(self._before):
            before.restore()
        self._before.clear()
        if self._took_warnings:
            logging.captureWarnings(False)
        self._handler.close()
        self._dropped, self._failed = self.dropped, self.failed
        self._handler = self._queue = None

    def configure(self, *, level: str | None = None, format: str | None = None) -> None:  # noqa: A002 - as above
        """Change the level or the format, also while lines are written. ValueError for one that does not exist."""
        if level is not None:
            self._level = _one_of(level, LEVELS)
            if self._handler is not None:
                self._set_level()
        if format is not None:
            self._format = _one_of(format, FORMATS)
            if self._queue is not None:
                self._queue.format = self._made(self._stream or sys.stderr)

    def _set_level(self) -> None:
        quiet = self._own and self._level == "debug"
        logging.getLogger().setLevel("INFO" if quiet else self._level.upper())
        for name in self._own:
            logging.getLogger(name).setLevel(self._level.upper())

    def close(self, timeout: float = 0.5) -> bool:
        """Write what waits, for at most `timeout` seconds; return whether all was written.

        The set-up stays: what is logged from now on, as a server's last words are, is written by its caller.
        """
        return self._queue is None or self._queue.close(timeout)

    async def aclose(self, timeout: float = 0.5) -> bool:
        """`close` without blocking the loop."""
        return await asyncio.to_thread(self.close, timeout)

    def _take(
        self,
        name: str,
        handlers: list[logging.Handler],
        level: str | None,
        filters: list[logging.Filter],
        *,
        propagate: bool = True,
    ) -> None:
        logger = logging.getLogger(name)
        self._before.append(_Before.of(logger))
        logger.handlers = handlers
        logger.filters = [*logger.filters, *filters]
        logger.propagate = propagate
        if level is not None:
            logger.setLevel(level)

    def _made(self, stream: TextIO) -> LineFormat:
        terminal = _is_terminal(stream)
        if self._format == "json" or (self._format == "auto" and not terminal):
            return JsonFormat(self._redactor)
        return PrettyFormat(self._redactor, colours=terminal and not self._environ.get("NO_COLOR"))

    def _note(self, lost: int) -> Line:
        fields = {"dropped": lost}
        return Line(self._clock.time(), "warning", "astra.logs", f"{lost} log lines were dropped", {}, fields)

    def __repr__(self) -> str:
        return f"<Logs {self._level} {self._format} queued={self.queued} dropped={self.dropped}>"


class _Handler(logging.Handler):
    def __init__(self, lines: LogQueue, counts: dict[str, int], clock: Clock) -> None:
        super().__init__()
        self._lines = lines
        self._counts = counts
        self._time = clock.time

    def emit(self, record: logging.LogRecord) -> None:
        self._counts[level_of(record.levelno)] += 1
        self._lines.put(line_of(record, self._time()))

    def close(self) -> None:
        self._lines.close()
        super().close()


class _Diverted(logging.Filter):
    """Hands a logger's records to us alone, whatever handlers the server gives it later (hypercorn does)."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler

    def filter(self, record: logging.LogRecord) -> bool:
        if logging.getLogger().isEnabledFor(record.levelno):
            self._handler.handle(record)
        return False


class _Dropped(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return False


@dataclass(frozen=True)
class _Before:
    """A logger as it was."""

    logger: logging.Logger
    handlers: list[logging.Handler]
    filters: list[logging._FilterType]
    level: int
    propagate: bool

    @classmethod
    def of(cls, logger: logging.Logger) -> _Before:
        return cls(logger, logger.handlers, logger.filters, logger.level, logger.propagate)

    def restore(self) -> None:
        self.logger.handlers = self.handlers
        self.logger.filters = self.filters
        self.logger.propagate = self.propagate
        self.logger.setLevel(self.level)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (OSError, ValueError, AttributeError):
        return False


def _one_of(value: str, values: tuple[str, ...]) -> str:
    if value not in values:
        raise ValueError(f"must be one of {', '.join(values)}")
    return value
