"""The parent of the workers, with real child processes that only pretend to serve."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.cli.supervisor import RestartPolicy, StartFailed, Supervisor
from app.main.children import Worker, describe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

READY = """
import os, pathlib, signal, socket, sys
link = socket.socket(fileno=int(os.environ["_ASTRA_PARENT_LINK"]))
pathlib.Path(sys.argv[1], str(os.getpid())).touch()
"""
SERVES = READY + "link.sendall(b'ready\\n'); signal.pause()"
STUBBORN = READY + "signal.signal(signal.SIGTERM, signal.SIG_IGN); link.sendall(b'ready\\n')\nwhile 1: signal.pause()"
REFUSES = READY + "link.sendall(b'the store is away\\n'); sys.exit(1)"
CRASHES = READY + "sys.exit(7)"
SILENT = READY + "signal.pause()"
CRASHES_LATER_SERVED = 2
CRASHES_LATER = (
    READY + f"len(os.listdir(sys.argv[1])) > {CRASHES_LATER_SERVED} and sys.exit(7); link.sendall(b'ready\\n')"
)
ONE_SERVES = READY + "len(os.listdir(sys.argv[1])) > 1 and sys.exit(9); link.sendall(b'ready\\n'); signal.pause()"
ORPHAN = READY + "link.sendall(b'ready\\n'); link.recv(1); pathlib.Path(sys.argv[1], 'orphan').touch()"
RELOADS = (
    READY
    + """
import time
while not pathlib.Path(sys.argv[1], 'begin').exists(): time.sleep(0.01)
signal.signal(signal.SIGHUP, lambda *_: pathlib.Path(sys.argv[1], f'reloaded-{os.getpid()}').touch())
signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
link.sendall(b'ready\\n')
while 1: signal.pause()
"""
)
QUICK = RestartPolicy(first_pause=0.01, longest_pause=0.02, start_timeout=0.5)


class Trial:
    """A supervisor over children that run `script`, and all it said."""

    def __init__(
        self,
        folder: Path,
        script: str,
        *,
        workers: int = 1,
        stop_timeout: float = 5.0,
        program: str = sys.executable,
    ) -> None:
        self.said: list[str] = []
        self.ready = asyncio.Event()
        self.folder = folder
        self.supervisor = Supervisor(
            [program, "-S", "-c", script, str(folder)],
            workers=workers,
            fds=(),
            environ=os.environ,
            stop_timeout=stop_timeout,
            on_ready=self.ready.set,
            say=self.said.append,
            policy=QUICK,
        )
        self.task: asyncio.Task[None] | None = None

    def pids(self) -> set[int]:
        """Every child that was ever started."""
        return {int(path.name) for path in self.folder.iterdir() if path.name.isdigit()}

    async def serve(self) -> None:
        """Run until the first worker is ready."""
        self.task = asyncio.create_task(self.supervisor.run())
        async with asyncio.timeout(10):
            await self.ready.wait()

    async def end(self) -> None:
        """Stop, and wait for the end."""
        self.supervisor.stop()
        assert self.task is not None
        await asyncio.wait_for(self.task, 10)


@pytest.fixture
async def trial(tmp_path: Path) -> AsyncIterator[Callable[..., Trial]]:
    """Make trials; whatever they started is gone afterwards."""
    made: list[Trial] = []

    def make(script: str, **options: Any) -> Trial:
        made.append(Trial(tmp_path, script, **options))
        return made[-1]

    yield make
    for one in made:
        if one.task is not None and not one.task.done():
            await one.end()


async def until(condition: Callable[[], bool]) -> None:
    """Poll until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition is the state of other processes
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_starts_every_worker_after_the_first_is_ready(trial: Callable[..., Trial]) -> None:
    """The first worker starts alone, then the rest, and all end with the supervisor."""
    one = trial(SERVES, workers=3)
    await one.serve()
    assert len(one.pids()) == 1
    await until(lambda: len(one.pids()) == 3)
    await one.end()
    assert not any(map(alive, one.pids()))
    assert one.said == []


async def test_replaces_a_killed_worker(trial: Callable[..., Trial]) -> None:
    """A worker that is killed is named and replaced while the other one stays."""
    one = trial(SERVES, workers=2)
    await one.serve()
    await until(lambda: len(one.pids()) == 2)
    victim, other = sorted(one.pids())
    os.kill(victim, signal.SIGKILL)
    await until(lambda: len(one.pids()) == 3)
    assert alive(other)
    assert one.said == [f"worker {victim} was killed by SIGKILL; starting another in 0.0 s"]


async def test_gives_up_with_the_reason_when_no_worker_can_start(trial: Callable[..., Trial]) -> None:
    """A worker that refuses to start is tried three times, and its reason is the error, said by nobody else."""
    one = trial(REFUSES, workers=2)
    with pytest.raises(StartFailed, match=r"^the store is away$"):
        await one.supervisor.run()
    assert len(one.pids()) == 3
    assert one.said == []
    assert not one.ready.is_set()


async def test_gives_up_with_the_exit_code_of_a_silent_crash(trial: Callable[..., Trial]) -> None:
    """A worker that dies before it is ready, saying nothing, is described by its exit code."""
    with pytest.raises(StartFailed, match=r"^a worker ended with code 7 before it was ready$"):
        await trial(CRASHES).supervisor.run()


async def test_a_worker_that_is_never_ready_is_killed(trial: Callable[..., Trial]) -> None:
    """A worker that says nothing within the start timeout counts as failed and does not stay."""
    one = trial(SILENT)
    with pytest.raises(StartFailed, match=r"not ready after 0\.5 s"):
        await one.supervisor.run()
    assert not any(map(alive, one.pids()))


async def test_failing_replacements_do_not_stop_a_worker_that_serves(trial: Callable[..., Trial]) -> None:
    """While one worker serves, replacements that cannot start are tried on and on, past the number of attempts."""
    one = trial(ONE_SERVES, workers=2)
    await one.serve()
    await until(lambda: len(one.pids()) > QUICK.attempts + 2)
    assert one.task is not None
    assert not one.task.done()


async def test_a_program_that_is_gone_for_a_moment_ends_nobody(trial: Callable[..., Trial], tmp_path: Path) -> None:
    """A replacement whose program cannot be run is one line and tried again; the worker that serves stays."""
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    one = trial(SERVES, workers=2, program=str(python))
    await one.serve()
    await until(lambda: len(one.pids()) == 2)
    python.unlink()
    victim, other = sorted(one.pids())
    os.kill(victim, signal.SIGKILL)
    await until(lambda: len(one.said) > QUICK.attempts + 1)
    assert one.said[1].startswith("a worker could not be started: [Errno 2] No such file or directory")
    python.symlink_to(sys.executable)
    await until(lambda: len(one.pids()) == 3)
    assert alive(other)


async def test_gives_up_when_there_is_no_such_program(trial: Callable[..., Trial]) -> None:
    """Where none serves, a program that cannot be run is the error, as any other refusal is."""
    one = trial(SERVES, program="/nowhere/python")
    with pytest.raises(StartFailed, match=r"could not be started: .*/nowhere/python"):
        await one.supervisor.run()
    assert one.said == []


async def test_only_failed_starts_count_as_such(trial: Callable[..., Trial]) -> None:
    """Workers that served and died are no failed starts: three of those it takes, one after the other."""
    one = trial(CRASHES_LATER)
    with pytest.raises(StartFailed, match=r"^a worker ended with code 7 before it was ready$"):
        await one.supervisor.run()
    assert len(one.pids()) == CRASHES_LATER_SERVED + QUICK.attempts


async def test_failed_starts_beside_a_worker_that_serves_do_not_count(trial: Callable[..., Trial]) -> None:
    """However many replacements failed meanwhile, the end of the last worker leaves all its attempts."""
    one = trial(ONE_SERVES, workers=2)
    await one.serve()
    (first,) = one.pids()
    await until(lambda: len(one.pids()) > QUICK.attempts + 2)
    before = len(one.pids())
    os.kill(first, signal.SIGKILL)
    assert one.task is not None
    with pytest.raises(StartFailed):
        await asyncio.wait_for(one.task, 10)
    assert len(one.pids()) >= before + QUICK.attempts


async def test_kills_workers_that_do_not_end_in_time(trial: Callable[..., Trial]) -> None:
    """A worker that ignores the order to stop is killed after the stop timeout."""
    one = trial(STUBBORN, stop_timeout=0.2)
    await one.serve()
    await one.end()
    assert not any(map(alive, one.pids()))
    assert one.said == ["1 of 1 workers did not end within 0.2 s and were killed"]


async def test_sigterm_stops_it_and_its_workers(trial: Callable[..., Trial]) -> None:
    """SIGTERM to the supervisor's process ends the run without an error."""
    one = trial(SERVES)
    await one.serve()
    assert one.task is not None
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(one.task, 10)
    assert not any(map(alive, one.pids()))


async def test_sighup_reaches_every_worker_whatever_it_is_doing(trial: Callable[..., Trial], tmp_path: Path) -> None:
    """One that serves hears it at once, one that is still starting when it takes signals; neither dies of it."""
    one = trial(RELOADS, workers=2)
    (tmp_path / "begin").touch()
    await one.serve()
    (tmp_path / "begin").unlink()
    await until(lambda: len(one.pids()) == 2)
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: len(list(tmp_path.glob("reloaded-*"))) == 1)
    (tmp_path / "begin").touch()
    await until(lambda: len(list(tmp_path.glob("reloaded-*"))) == 2)
    assert one.said == []
    assert all(map(alive, one.pids()))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="a later asyncio needs no thread for it")
async def test_a_child_that_cannot_be_awaited_is_an_error_of_the_system() -> None:
    """No thread to be had is told as no process is; such a stack no machine has."""
    usual = threading.stack_size(1 << 46)
    try:
        with pytest.raises(OSError, match="can't start new thread"):
            await Worker.start([sys.executable, "-S", "-c", ""], fds=(), environ=os.environ)
    finally:
        threading.stack_size(usual)


async def test_the_link_ends_when_the_parent_lets_go(tmp_path: Path) -> None:
    """A worker reads end-of-file on its link as soon as the parent's end is closed."""
    worker = await Worker.start([sys.executable, "-S", "-c", ORPHAN, str(tmp_path)], fds=(), environ=os.environ)
    assert await worker.refusal(within=10) is None
    worker._writer.close()
    await until((tmp_path / "orphan").exists)
    assert await worker.ended() == 0


def test_pauses_double_up_to_the_longest() -> None:
    """The pause before a replacement doubles with each death in a row, and is bounded."""
    policy = RestartPolicy(first_pause=0.1, longest_pause=1.0)
    assert [policy.pause(row) for row in (1, 2, 3, 4, 5, 5000)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended with code 0"),
        (3, "ended with code 3"),
        (-9, "was killed by SIGKILL"),
        (-99, "was killed by signal 99"),
    ],
)
def test_exit_codes_in_words(code: int, words: str) -> None:
    """An exit code is described as a verb, with the signal's name."""
    assert describe(code) == words
