"""The blocking half of the writer: one transaction for many units, none of which can take another down."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from astra_core.sqlite.failures import DRIVER_ERRORS, is_busy, translate
from astra_core.sqlite.gathering import Gathering
from astra_core.sqlite.unit import take

if TYPE_CHECKING:
    import random
    from collections import deque
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from astra_core.sqlite.limits import Limits
    from astra_core.sqlite.unit import Unit

__all__ = ["Done", "GroupCommit", "Together", "one_after_another"]

_PAUSES = 8
"""Pauses before one group, at most: those who come back do so within a few milliseconds, or not at all."""
_WAL_LOOK = 64
"""Groups between two looks at the size of the WAL."""


Work: TypeAlias = "Callable[[sqlite3.Connection], Any]"


class Together(Protocol):
    """Does the works of a group, several at once where that is cheaper."""

    def __call__(self, connection: sqlite3.Connection, works: Iterator[Work], /) -> list[Any]:
        """Return the result of each work, in order; `works` ends when the group has its fill.

        What it raises is no single work's own: all of them are undone, and called one by one.
        """
        ...


def one_after_another(connection: sqlite3.Connection, works: Iterator[Work], /) -> list[Any]:
    """Do works of which nothing is known."""
    return [work(connection) for work in works]


@dataclass(slots=True)
class Done:
    """What one transaction settled, and what it took."""

    units: list[Unit] = field(default_factory=list)
    committed: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    tries: int = 0


class GroupCommit:
    """Takes units from a queue and commits them in groups. Runs in the writer's thread, one call at a time.

    A unit that raises is undone alone and only its caller hears of it; the others may run twice for that. When the
    transaction itself is given up (a full disk, an I/O error), every unit of the group fails, and none is written.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        *,
        together: Together,
        limits: Limits,
        random: random.Random,
        monotonic: Callable[[], float],
        pause: Callable[[float], None] = time.sleep,
        gathering: Gathering | None = None,
    ) -> None:
        self.gathering = gathering or Gathering()
        """Whom to tell how many units wait."""
        self._connection = connection
        self._path = path
        self._wal = f"{path}-wal"
        self._together = together
        self.limits = limits
        """The bounds in force; whoever replaces them does so from the loop's thread."""
        self._checkpoint_every = limits.checkpoint
        self._random = random
        self._monotonic = monotonic
        self._pause = pause
        self._contended_until = float("-inf")
        self._groups = 0

    def drain(self, queue: deque[Unit], settle: Callable[[Done], None]) -> None:
        """Commit until the queue is empty; `settle` is called with each group as soon as it is durable.

        Those whom a group answers often come back soon. Until as many wait as were answered and as had been waiting
        then, pauses let the next group grow, as long as it does: many writers share one sync instead of two by turns,
        and a lone one waits for nobody (PostgreSQL: commit_delay).
        """
        expected = 0
        while queue:
            self._gather(queue, expected)
            done = self._group(queue)
            expected = min(len(done.units) + len(queue), self.limits.group)
            settle(done)
            self._groups += 1
            if self._checkpoint_every and self._groups % self._checkpoint_every == 0:
                self.checkpoint()
            if self._groups % _WAL_LOOK == 0:
                self._bound_wal()
            if self._monotonic() < self._contended_until:
                self._pause(self.limits.courtesy)

    def _gather(self, queue: deque[Unit], expected: int) -> None:
        """Wait as long as the queue grows towards what is expected, a bounded number of times."""
        for _ in range(_PAUSES):
            waiting = len(queue)
            if waiting >= expected:
                return
            self.gathering.wait(expected, self.limits.gather)
            if len(queue) <= waiting:
                return

    def checkpoint(self) -> None:
        """Move what the WAL holds into the database as far as readers allow. Nobody waits for the lock meanwhile."""
        with contextlib.suppress(*DRIVER_ERRORS):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close the connection; the last one to close a file also empties its WAL."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _group(self, queue: deque[Unit]) -> Done:
        done = Done()
        asked = self._monotonic()
        try:
            if not self._begin(queue, done):
                return done
        except Exception as error:
            while (unit := take(queue)) is not None:
                done.units.append(unit)
            self._give_up(done, error)
            return done
        begun = self._monotonic()
        done.waited = begun - asked
        try:
            self._perform(queue, done, begun)
            self._connection.execute("COMMIT")
        except BaseException as error:  # whatever it is, those whose units were taken are answered, and the lock let go
            self._give_up(done, error)
        else:
            done.committed = sum(unit.error is None for unit in done.units)
        done.seconds = self._monotonic() - begun
        return done

    def _begin(self, queue: deque[Unit], done: Done) -> bool:
        """Take the write lock; False when every unit's deadline passed before it was free."""
        limits = self.limits
        while True:
            if not queue:
                return False
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                done.tries += 1
                self._contended_until = self._monotonic() + limits.contended_for
                self._pause(self._random.uniform(*limits.retry))
            else:
                return True

    def _perform(self, queue: deque[Unit], done: Done, begun: float) -> None:
        """Run units until there is none, or the group has its fill. Raises when the whole transaction is lost.

        All goes well nearly always, so one savepoint stands round them all; COMMIT releases it. When a unit raises,
        all are undone and run again, each in a savepoint of its own: that costs two statements a unit.
        """
        end = begun + self.limits.group_seconds
        units = done.units
        self._connection.execute("SAVEPOINT units")
        try:
            results = self._together(self._connection, self._works(queue, units, end))
            for unit, result in zip(units, results, strict=True):
                unit.result = result
        except BaseException as error:
            self._undo("units", error)
            self._one_by_one(units)

    def _works(self, queue: deque[Unit], units: list[Unit], end: float) -> Iterator[Work]:
        """Take units one by one, as long as there are some and the group has room and time."""
        while len(units) < self.limits.group and (unit := take(queue)) is not None:
            units.append(unit)
            yield unit.work
            if self._monotonic() >= end:
                return

    def _one_by_one(self, units: list[Unit]) -> None:
        for unit in units:
            self._connection.execute("SAVEPOINT unit")
            try:
                unit.result = unit.work(self._connection)
            except BaseException as error:
                unit.result, unit.error = None, self._told(error)
                self._undo("unit", error)
            self._connection.execute("RELEASE unit")

    def _told(self, error: BaseException) -> BaseException:
        """Return what a caller is told of what its unit raised."""
        told: BaseException
        if isinstance(error, DRIVER_ERRORS):
            told = translate(error, self._path)
        elif isinstance(error, StopIteration):  # no future can hold it: its caller would wait for ever
            told = RuntimeError("the unit raised StopIteration")
        else:
            return error
        told.__cause__ = error
        return told

    def _undo(self, savepoint: str, error: BaseException) -> None:
        if not self._connection.in_transaction:
            raise sqlite3.OperationalError("SQLite rolled the transaction back") from error
        self._connection.execute(f"ROLLBACK TO {savepoint}")

    def _give_up(self, done: Done, error: BaseException) -> None:
        """End the transaction, if there is one, and fail every unit."""
        if self._connection.in_transaction:
            with contextlib.suppress(Exception):  # where this fails too, the next BEGIN does, and comes here again
                self._connection.execute("ROLLBACK")
        cause = error.__cause__ if isinstance(error.__cause__, DRIVER_ERRORS) else error
        for unit in done.units:
            unit.result = None
            unit.error = translate(cause, self._path)
            unit.error.__cause__ = cause

    def _bound_wal(self) -> None:
        """Empty a WAL that grew too large because there was always a reader: wait a little for those in flight."""
        try:
            if os.stat(self._wal).st_size <= self.limits.wal_bytes:
                return
            self._connection.execute("PRAGMA busy_timeout=200")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except (OSError, *DRIVER_ERRORS):
            return
        finally:
            self._connection.execute("PRAGMA busy_timeout=0")
