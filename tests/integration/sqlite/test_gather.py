"""How the groups of many writers grow, and that a lone writer waits for nobody."""

from __future__ import annotations

import random
import sqlite3
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from astra_core.sqlite.gathering import Gathering
from astra_core.sqlite.group import Done, GroupCommit, one_after_another
from astra_core.sqlite.limits import Limits
from astra_core.sqlite.unit import Unit

if TYPE_CHECKING:
    from pathlib import Path


def nothing(connection: sqlite3.Connection) -> None:
    """A unit that writes nothing."""


def drained(
    path: Path, waiting: int, come_back: dict[int, int], *, limits: Limits | None = None
) -> tuple[list[int], list[int]]:
    """Drain `waiting` units; return the sizes of groups, and after which of them each pause was made.

    More join after the group of each number, or in the first pause after it, by a negative number.
    """
    queue: deque[Unit] = deque()
    sizes: list[int] = []
    pauses: list[int] = []

    def join(number: int) -> None:
        queue.extend(Unit(nothing, future, float("inf")) for _ in range(number))

    def settle(done: Done) -> None:
        sizes.append(len(done.units))
        join(come_back.get(len(sizes), 0))

    class Joining(Gathering):
        """Lets units come while it is waited for them."""

        def wait(self, wanted: int, seconds: float) -> None:
            assert wanted > len(queue)
            assert seconds == Limits().gather
            pauses.append(len(sizes))
            join(come_back.pop(-len(sizes), 0))

    future: Any = None
    group = GroupCommit(
        sqlite3.connect(path, isolation_level=None),
        path,
        together=one_after_another,
        limits=limits or Limits(),
        random=random.Random(1),
        monotonic=time.monotonic,
        gathering=Joining(),
    )
    join(waiting)
    group.drain(queue, settle)
    group.close()
    return sizes, pauses


def test_a_group_waits_for_those_who_come_back(tmp_path: Path) -> None:
    """When fewer wait than the last group held, a pause lets more join before the next one."""
    assert drained(tmp_path / "a.db", 8, {1: 2, -1: 6}) == ([8, 8], [1])


def test_those_who_wait_already_and_those_who_come_back_share_a_group(tmp_path: Path) -> None:
    """Two halves of the writers by turns would sync twice as often: a group waits for both, if they come."""
    one_at_a_time = Limits(group_seconds=0.0)
    assert drained(tmp_path / "a.db", 3, {-1: 1}, limits=one_at_a_time) == ([1, 1, 1, 1], [1, 2, 3])


def test_a_group_waits_as_long_as_more_come(tmp_path: Path) -> None:
    """One pause after the other while the queue grows, and no more once it does not."""
    assert drained(tmp_path / "a.db", 8, {1: 2, -1: 3}) == ([8, 5], [1, 1])


def test_lone_writers_wait_for_nobody(tmp_path: Path) -> None:
    """One after the other, and as many as before, begin at once."""
    assert drained(tmp_path / "a.db", 1, {1: 1, 2: 1}) == ([1, 1, 1], [])
    assert drained(tmp_path / "b.db", 4, {1: 4}) == ([4, 4], [])


def test_a_wait_ends_as_soon_as_enough_are_there() -> None:
    """Neither fewer nor a wait that is over already end it; what came too late does not end the next one."""
    gathering = Gathering()
    gathering.tell(100)  # nobody waits

    def tell() -> None:
        for number in (1, 7, 8, 9):
            time.sleep(0.02)
            gathering.tell(number)

    told = threading.Thread(target=tell)
    began = time.monotonic()
    told.start()
    gathering.wait(8, 60.0)
    assert 0.06 <= time.monotonic() - began < 30
    told.join()
    began = time.monotonic()
    gathering.wait(8, 0.05)
    assert time.monotonic() - began >= 0.05


def test_tellers_and_waits_that_end_by_themselves_never_fail() -> None:
    """Many short waits beside a thread that tells all the time: no wait hangs, and nothing is given back twice."""
    gathering, stop = Gathering(), threading.Event()
    failures: list[BaseException] = []

    def tell() -> None:
        try:
            while not stop.is_set():
                gathering.tell(2)
        except BaseException as error:
            failures.append(error)

    teller = threading.Thread(target=tell)
    teller.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(5_000):
            gathering.wait(1 + number % 3, 1e-6)
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        teller.join()
    assert not failures
