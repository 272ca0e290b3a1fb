"""One child process as its parent sees it: the process, and the socket whose end-of-file tells of a death."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from typing import TYPE_CHECKING

from app.main.process import PARENT_LINK

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Worker", "describe"]

_HELD_BACK = (signal.SIGINT, signal.SIGHUP)


class Worker:
    """A started child. Make one with `start`."""

    def __init__(self, process: Process, link: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process = process
        self._link = link
        self._writer = writer  # never written to: held, because our end of the link must stay open as long as we live

    @classmethod
    async def start(cls, command: Sequence[str], *, fds: Sequence[int], environ: Mapping[str, str]) -> Worker:
        """Run `command` with the descriptors `fds`, and with a link whose number is in the environment.

        The child never sees SIGINT: a terminal's Ctrl-C reaches the whole group, and the parent passes on SIGTERM.
        SIGHUP waits until the child takes it, which would otherwise die of one that comes while it starts.
        Raises `OSError` when there is no such program, or no process, thread or memory to be had.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs, blocked():  # a blocked signal stays blocked in the child, and waits in the parent
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(*fds, theirs.fileno()),
                    env={**environ, PARENT_LINK: str(theirs.fileno())},
                )
            link, writer = await asyncio.open_connection(sock=ours)
        except BaseException as error:
            ours.close()  # a child that was started all the same ends by that
            if isinstance(error, RuntimeError):  # asyncio of 3.11 awaits each child in a thread, and there is none
                raise OSError(errno.EAGAIN, str(error)) from error
            raise
        return cls(process, link, writer)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def refusal(self, *, within: float) -> str | None:
        """Wait for start-up: None when the worker answers requests, else why it does not."""
        try:
            async with asyncio.timeout(within):
                line = (await self._link.readline()).decode().strip()
        except TimeoutError:
            self.kill()
            return f"a worker was not ready after {within:g} s"
        except OSError:
            line = ""
        if line == "ready":
            return None
        code = await self.ended()
        return line or f"a worker {describe(code)} before it was ready"

    async def ended(self) -> int:
        """Wait for the end and return the code: negative for a signal, as `subprocess` gives it."""
        code = await self._process.wait()
        self._writer.close()
        return code

    def terminate(self) -> None:
        """Ask for an orderly end."""
        self._send(signal.SIGTERM)

    def reload(self) -> None:
        """Ask for the settings to be read again."""
        self._send(signal.SIGHUP)

    def kill(self) -> None:
        """End it now."""
        self._send(signal.SIGKILL)

    def _send(self, signum: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signum)


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Hold SIGINT and SIGHUP back. They are never lost: they arrive at the end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)


def describe(code: int) -> str:
    """What an exit code says, as a verb: "ended with code 3", "was killed by SIGKILL"."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
