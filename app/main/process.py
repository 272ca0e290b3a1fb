"""What a worker process has to know about the process above it, whichever server runs the application.

An ASGI application is told of the end (`lifespan.shutdown`) only after the server has waited for every request, so one
slow request can hold it for ever; and no server tells it that the parent died. `ProcessWatch` supplies both from the
outside of the server, without replacing anything the server does:

* uvicorn, and hypercorn with `-w 0`: a signal handler is put in front of the server's own and calls it.
* hypercorn with workers: its children get no signal; the parent sets a `multiprocessing` event, an argument of the
  child's target function, so `multiprocessing.current_process()` holds it. It is looked at every 0.1 s, as hypercorn
  does.
  As soon as its first child is through, the parent sends SIGTERM to the others: one that is still draining ignores it.
* children of `uvicorn --workers` and of hypercorn are made by `multiprocessing`, whose sentinel becomes readable when
  the parent dies; children of `astra serve` hold one end of a socket (`PARENT_LINK`) that then reads end-of-file. A
  single server under a shell has no such parent: its shell may leave, and it serves on.

`announce_ready` and `refuse_start` report the result of start-up in the way that each server answers best.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import stat
import sys
import threading
from multiprocessing.synchronize import Event as SharedEvent
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

__all__ = [
    "PARENT_LINK",
    "ExitDeadline",
    "Lifeline",
    "ProcessWatch",
    "ShutdownSignal",
    "announce_ready",
    "refuse_start",
    "report_failure",
]

PARENT_LINK = "_ASTRA_PARENT_LINK"
"""Environment variable: the inherited socket to `astra serve`. One line goes up, "ready" or a reason."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)
POLL = 0.1  # seconds between two looks at hypercorn's event: its own interval
EXIT_MARGIN = 0.8  # seconds after the drain in which an orderly end must be through: 4 + 0.8 keeps the promise of 5
EXIT_OVERDUE = 70  # EX_SOFTWARE of sysexits.h: the drain was over and the process still there


class ExitDeadline:
    """Ends the process when an orderly end does not come in time: a thread, so a blocked loop does not matter."""

    def __init__(self, seconds: float, *, leave: Callable[[int], object] = os._exit) -> None:
        self._seconds = seconds
        self._leave = leave
        self._timer: threading.Timer | None = None

    def arm(self) -> None:
        """Start counting; a second call changes nothing."""
        if self._timer is None:
            self._timer = threading.Timer(self._seconds, self._leave, (EXIT_OVERDUE,))
            self._timer.daemon = True
            self._timer.start()

    def cancel(self) -> None:
        """Forget the deadline."""
        if self._timer is not None:
            self._timer.cancel()


class ShutdownSignal:
    """Calls back, once and in the loop, when the server that runs this process was told to stop.

    `install` must be called in the main thread while the loop runs, after the server took the signals (that is, from
    lifespan start-up). A signal that nobody handled keeps its default action: this never makes a process deaf to it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callback: Callable[[], object] | None = None
        self._previous: dict[signal.Signals, Callable[[int, Any], Any]] = {}
        self._poll: asyncio.TimerHandle | None = None
        self._took_terminate = False

    def install(self, callback: Callable[[], object]) -> None:
        """Watch for the beginning of shutdown; `callback` runs in the loop."""
        self._callback = callback
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in SIGNALS:
            previous = signal.getsignal(signum)
            if callable(previous):
                self._previous[signum] = previous
                self._handle(signum, self._on_signal)
        event = shared_shutdown_event()
        if event is not None:
            self._watch(event)

    def uninstall(self) -> None:
        """Give the signals back. A handler that somebody else put in front of ours stays."""
        self._callback = None
        if self._poll is not None:
            self._poll.cancel()
        for signum, previous in self._previous.items():
            if signal.getsignal(signum) == self._on_signal:
                self._handle(signum, previous)
        self._previous.clear()
        if self._took_terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _handle(self, signum: signal.Signals, handler: Callable[[int, Any], Any]) -> None:
        signal.signal(signum, handler)
        signal.siginterrupt(signum, False)  # signal.signal resets what the loop set: restart system calls

    def _on_signal(self, signum: int, frame: Any) -> None:
        previous = self._previous.get(signal.Signals(signum))
        self._loop.call_soon_threadsafe(self._fire)
        if previous is not None:
            previous(signum, frame)

    def _watch(self, event: SharedEvent) -> None:
        def terminate(signum: int, frame: Any) -> None:
            self._loop.call_soon_threadsafe(self._terminated, event)  # not here: the event's lock may be held right now

        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._handle(signal.SIGTERM, terminate)
            self._took_terminate = True
        self._look(event)

    def _look(self, event: SharedEvent) -> None:
        if event.is_set():
            self._fire()
        else:
            self._poll = self._loop.call_later(POLL, self._look, event)

    def _terminated(self, event: SharedEvent) -> None:
        if event.is_set():
            self._fire()
        else:  # meant for this child alone, which hypercorn leaves to the default action
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)

    def _fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Lifeline:
    """Calls back, once and in the loop, when the parent process is gone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        self._loop = loop
        self._fd = fd
        self._watching = False

    @classmethod
    def to_parent(cls, loop: asyncio.AbstractEventLoop, environ: Mapping[str, str] = os.environ) -> Lifeline | None:
        """The lifeline of this process, or None if nothing above it is bound to its life."""
        fd = parent_link(environ)
        if fd is not None:
            return cls(loop, fd)
        parent = multiprocessing.parent_process()
        return None if parent is None else cls(loop, parent.sentinel)

    def watch(self, callback: Callable[[], object]) -> None:
        """Start watching; `callback` runs in the loop."""
        self._watching = True
        self._loop.add_reader(self._fd, self._lost, callback)

    def close(self) -> None:
        """Stop watching. The descriptor stays open: it belongs to the process."""
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._fd)

    def _lost(self, callback: Callable[[], object]) -> None:
        self.close()
        callback()


class ProcessWatch:
    """All of it for one worker: `on_shutdown` is called in the loop, once, when the end begins, for whatever reason.

    From then on the process has `drain_timeout` seconds and a margin of 0.8 s; what is still there after that is ended
    hard, with exit code 70. A lost parent counts as the order to stop, and so does `lifespan.shutdown`: a signal that
    came before `start` went to the server alone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, drain_timeout: float) -> None:
        self._deadline = ExitDeadline(drain_timeout + EXIT_MARGIN)
        self._signal = ShutdownSignal(loop)
        self._lifeline = Lifeline.to_parent(loop)
        self._on_shutdown: Callable[[], object] | None = None

    def start(self, on_shutdown: Callable[[], object]) -> None:
        """Begin to watch; call it first in lifespan start-up, in the main thread."""
        self._on_shutdown = on_shutdown
        self._signal.install(self.begin)
        if self._lifeline is not None:
            self._lifeline.watch(self._orphaned)

    def begin(self) -> None:
        """The end has begun; call it at `lifespan.shutdown`. A second call changes nothing."""
        self._deadline.arm()
        callback, self._on_shutdown = self._on_shutdown, None
        if callback is not None:
            callback()

    def stop(self) -> None:
        """Undo `start`; call it last in lifespan shutdown, when nothing is left that could hold the process."""
        if self._lifeline is not None:
            self._lifeline.close()
        self._signal.uninstall()
        self._deadline.cancel()

    def _orphaned(self) -> None:
        self._deadline.arm()
        event = shared_shutdown_event()
        if event is not None:
            event.set()
        else:
            os.kill(os.getpid(), signal.SIGTERM)


def shared_shutdown_event() -> SharedEvent | None:
    """The event by which hypercorn's parent tells its children to stop; None in any other process."""
    arguments = getattr(multiprocessing.current_process(), "_kwargs", {})
    event = arguments.get("shutdown_event")
    return event if isinstance(event, SharedEvent) else None


def parent_link(environ: Mapping[str, str] = os.environ) -> int | None:
    """The descriptor of the socket to `astra serve`; None under any other parent."""
    try:
        fd = int(environ[PARENT_LINK])
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return None  # the variable outlived the descriptor: a grandchild inherited only the environment
    except (KeyError, ValueError, OSError):
        return None
    os.set_inheritable(fd, False)
    return fd


def report_failure(reason: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell `astra serve` why this worker ends; False under any other parent."""
    return _report(reason, environ)


def announce_ready(environ: Mapping[str, str] = os.environ) -> None:
    """Tell `astra serve` that this worker answers; under any other parent this does nothing."""
    _report("ready", environ)


async def refuse_start(
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]], reason: str, environ: Mapping[str, str] = os.environ
) -> None:
    """Refuse `lifespan.startup` with one clear line, so that the server ends and nothing half-started serves.

    The line goes to `astra serve`, which prints it once for all its workers, or else to stderr. Hypercorn answers
    `lifespan.startup.failed` with a traceback and `SystemExit` with a quiet end; uvicorn takes a `SystemExit` for a
    missing lifespan and would serve. So each gets its own.
    """
    if not report_failure(reason, environ):
        print(f"astra: cannot start: {_one_line(reason)}", file=sys.stderr, flush=True)  # noqa: T201 - there may be no logging yet
    if (getattr(send, "__module__", None) or "").startswith("hypercorn"):
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(asyncio.Task.exception)  # retrieved, so that asyncio does not print a traceback
        raise SystemExit(1)
    await send({"type": "lifespan.startup.failed", "message": ""})


def _report(line: str, environ: Mapping[str, str]) -> bool:
    fd = parent_link(environ)
    if fd is None:
        return False
    with socket.socket(fileno=os.dup(fd)) as link:
        try:
            link.sendall(_one_line(line).encode() + b"\n")
        except OSError:
            return False
    return True


def _one_line(text: str) -> str:
    return " ".join(text.split())
