"""Processes killed between write, publish and mark, and anywhere else: nothing lost, nothing doubled, in order."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

import pytest

from astra_core.workflow import Runner, replayed
from tests.integration.workflow.accounts import ACCOUNTS, KEYS, SENDERS, Deposit, event, opened
from tests.integration.workflow.crashing import end, life

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

    Life: TypeAlias = tuple[ForkServerProcess, Path]

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.integration.workflow.crashing"])  # a life begins in milliseconds
FULL = bool(os.environ.get("ASTRA_TEST_FULL"))
SEED = int(os.environ.get("ASTRA_TEST_SEED") or random.SystemRandom().randrange(2**31))
POINTS = (
    "before write",
    "after write",
    "before fire",
    "after fire",
    "before publish",
    "within publish",
    "after publish",
    "before mark",
    "after mark",
    "before effect",
    "after effect",
    "before acknowledge",
    "after acknowledge",
)
EACH = 10 if FULL else 1
AT_RANDOM = 200 if FULL else 6


class Crashes:
    """Lives of processes over one folder, and what they acknowledged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.random = random.Random(SEED)
        self.next = list(range(SENDERS))
        self.acknowledged: set[int] = set()
        self.deaths: Counter[str] = Counter()
        self._numbers = itertools.count()

    def die_at(self, point: str) -> None:
        """Live until the process kills itself at some pass of the point."""
        (one,) = self._begin(1, point, self.random.randrange(1, 10))
        self._bury(one, point)

    def die_anywhere(self, processes: int) -> None:
        """Live for a while in some processes at once, which send the same, and kill them with no warning."""
        lives = self._begin(processes)
        for process, notes in lives:
            self._until(process, lambda notes=notes: notes.exists() and notes.stat().st_size)  # type: ignore[misc]
        for process, _ in lives:
            time.sleep(self.random.uniform(0.01, 0.3))
            process.kill()
        for one in lives:
            self._bury(one, "anywhere")

    def check(self) -> Counter[str]:
        """Finish what was begun, then compare accounts, histories and ledger; returns counts to print."""
        process = FORKS.Process(target=end, args=(self.folder,))
        process.start()
        process.join(100)
        assert process.exitcode == 0
        return asyncio.run(self._compare())

    def _begin(self, processes: int, point: str = "", passes: int = 0) -> list[Life]:
        lives = []
        for _ in range(processes):
            notes = self.folder / f"life {next(self._numbers)}"
            process = FORKS.Process(target=life, args=(self.folder, notes, self.next, point, passes))
            process.start()
            lives.append((process, notes))
        return lives

    def _bury(self, one: Life, death: str) -> None:
        process, notes = one
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, f"it never came to {death}"
        self.deaths[death] += 1
        for line in notes.read_text().splitlines():
            if line != "ready":
                sender, number = map(int, line.split())
                self.acknowledged.add(number)
                self.next[sender] = max(self.next[sender], number + SENDERS)

    def _until(self, process: ForkServerProcess, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert process.is_alive()
            assert time.monotonic() < end
            time.sleep(0.01)

    async def _compare(self) -> Counter[str]:
        counts: Counter[str] = Counter(acknowledged=len(self.acknowledged))
        async with opened(self.folder) as (accounts, books, log):
            runner = Runner(ACCOUNTS, accounts)
            assert await accounts.waiting() == 0
            assert [group.behind for topic in await log.topics() for group in topic.groups] == [0, 0]
            cents, receipts = await books.counts("cents", KEYS), await books.counts("receipts", KEYS)
            happened: Counter[str] = Counter()
            for key in KEYS:
                instance = await runner.get(key)
                assert instance is not None
                entries = await runner.history(key, limit=1_000_000)
                found = replayed(ACCOUNTS, entries)
                assert (found.state, found.data) == (instance.state, instance.data)
                moves = await books.events("moves", key, limit=1_000_000)
                assert [move.data.decode() for move in moves] == [entry.id for entry in entries]
                deposits = [entry for entry in entries if entry.event == Deposit.__name__]
                assert instance.data.cents == cents[key]
                assert len(deposits) == receipts[key]
                happened.update(entry.id for entry in entries if entry.by.startswith("sender"))
                counts.update(entries=len(entries), receipts=len(deposits))
            assert all(times == 1 for times in happened.values())
            assert {f"n{number}" for number in self.acknowledged} <= happened.keys()
            total = sum(what.cents for name in happened if isinstance(what := event(int(name[1:]))[1], Deposit))
            assert sum(cents.values()) == total
            delivered = await books.counts("delivered", ["moves", "receipts"])
            counts["doubled deliveries"] = sum(delivered.values()) - counts["entries"] - counts["receipts"]
            return counts


@pytest.mark.slow
@pytest.mark.timeout(3_000 if FULL else 240)
def test_no_kill_loses_or_doubles_an_event(tmp_path: Path) -> None:
    """Every acknowledged event is in its history and in the ledger, once and in order; records follow from it."""
    crashes = Crashes(tmp_path)
    for _ in range(EACH):
        for point in POINTS:
            crashes.die_at(point)
        counts = crashes.check()
    for turn in range(AT_RANDOM):
        crashes.die_anywhere(processes=1 + turn % 2)
        if turn % 20 == 19:
            counts = crashes.check()
    counts = crashes.check()
    print(f"\nseed {SEED}: {dict(crashes.deaths)} {dict(counts)}")
    assert counts["acknowledged"] > 0
