"""An owner that is stopped until its lease is over, and wakes up: what it still writes, the store refuses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.coordination.opened import opened
from tests.stopped import stop_outside_of_transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LEADER = Path(__file__).with_name("leader.py")
FULL = os.environ.get("ASTRA_TEST_FULL") == "1"
TTL, STOPPED, ROUNDS = (3.0, 10.0, 6) if FULL else (0.8, 2.0, 2)


class Leader:
    """A leader in a process of its own, and what it printed."""

    def __init__(self, folder: Path, name: str, how: str) -> None:
        self.name = name
        self.taken: list[int] = []
        self.refused: list[int] = []
        self.process = subprocess.Popen(
            [sys.executable, str(LEADER), str(folder), name, str(TTL), how], stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            what, epoch = line.split()
            (self.taken if what == "taken" else self.refused).append(int(epoch))

    def end(self) -> None:
        """Kill it, and have all that it said."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def leaders(tmp_path: Path) -> Iterator[Callable[[str], list[Leader]]]:
    """What starts two leaders; they are ended in any case."""
    started: list[Leader] = []

    def start(how: str) -> list[Leader]:
        started.extend(Leader(tmp_path, name, how) for name in ("a", "b"))
        return started

    yield start
    for leader in started:
        leader.end()


def until(what: str, condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until `condition()` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not {what} within {seconds} s"
        time.sleep(0.01)


def stop_by_turns(leaders: list[Leader], folder: Path, rounds: int) -> None:
    """Stop whoever has the lease until it is another's, round by round, and let it try what it can when it wakes."""
    until("taken", lambda: any(leader.taken for leader in leaders))
    for _ in range(rounds):
        owner = max(leaders, key=lambda leader: max(leader.taken, default=0))
        (other,) = (leader for leader in leaders if leader is not owner)
        time.sleep(0.3)
        before = max(owner.taken)
        stop_outside_of_transactions(owner.process.pid, (folder / "store.db", folder / "coordination.db"))
        stopped = time.monotonic()
        until("taken over", lambda: max(other.taken, default=0) > before)  # noqa: B023 - called at once
        time.sleep(max(0.0, STOPPED - (time.monotonic() - stopped)))
        owner.process.send_signal(signal.SIGCONT)
        time.sleep(1.0)


async def written(folder: Path) -> list[tuple[int, str]]:
    """Return epoch and writer of every write, in the order in which the store has them."""
    found: list[tuple[int, str]] = []
    async with opened(folder) as (store, _):
        while page := await store.events("log", "all", after=len(found), limit=10_000):
            entries = [json.loads(event.data) for event in page]
            found += [(entry["epoch"], entry["node"]) for entry in entries]
    return found


def stale(writes: list[tuple[int, str]]) -> int:
    """Count the writes that stand behind one of a later epoch."""
    newest = count = 0
    for epoch, _ in writes:
        count += epoch < newest
        newest = max(newest, epoch)
    return count


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_stopped_owner_writes_nothing_when_it_wakes(
    leaders: Callable[[str], list[Leader]], tmp_path: Path
) -> None:
    """Every write of it is refused, none is accepted behind a later owner's, and that one works on."""
    pair = leaders("fenced")
    await asyncio.to_thread(stop_by_turns, pair, tmp_path, ROUNDS)
    for leader in pair:
        leader.end()
    writes = await written(tmp_path)
    owners = [(epoch, node) for (epoch, node), _ in groupby(writes)]
    refused = sum(len(leader.refused) for leader in pair)
    print(
        f"{ROUNDS} stops of {STOPPED} s, ttl {TTL} s: {len(writes)} writes by {len(owners)} owners, {refused} refused"
    )
    assert stale(writes) == 0
    assert len(owners) == len({epoch for epoch, _ in owners}) > ROUNDS
    assert refused >= 4 * ROUNDS
    counts = Counter(writes)
    assert sum(count > 50 for count in counts.values()) > ROUNDS  # on a busy machine an owner may lose it at once


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_without_the_fence_it_would(leaders: Callable[[str], list[Leader]], tmp_path: Path) -> None:
    """The same owner, whose commits do not carry the fence, writes behind its successor: so the proof can fail."""
    pair = leaders("unfenced")
    await asyncio.to_thread(stop_by_turns, pair, tmp_path, 1)
    for leader in pair:
        leader.end()
    assert stale(await written(tmp_path)) > 0
