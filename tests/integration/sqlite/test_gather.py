"""How the groups of many writers grow, and that a lone writer waits for nobody."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import deque
from typing import TYPE_CHECKING, Any

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

    def pause(seconds: float) -> None:
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
        pause=pause,
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
