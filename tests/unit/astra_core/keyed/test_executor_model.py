"""The executor against a model of it: any order of submissions, ends, failures, departures and pauses."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from astra_core.errors import WorkRefused
from astra_core.keyed import KeyedExecutor
from astra_core.testing import FakeClock

FULL = os.environ.get("ASTRA_TEST_FULL") == "1"
CONCURRENCY, MAILBOX, QUEUE, ATTEMPTS, PAUSE = 2, 2, 3, 2, 1.0


@dataclass(eq=False)
class Piece:
    """One piece of work and what becomes of it."""

    key: int
    outcomes: asyncio.Queue[bool] = field(default_factory=asyncio.Queue)
    caller: asyncio.Task[str] | None = None
    attempts: int = 0
    inside: bool = False
    over: bool = False

    @property
    def waits(self) -> bool:
        """Whether no attempt at it has begun."""
        return not self.attempts and not self.over


class ExecutorModel(RuleBasedStateMachine):
    """Three keys on two permits, with mailboxes of two, a queue of three, and two attempts each."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.letters: list[object] = []
        self.executor = KeyedExecutor(
            "model",
            concurrency=CONCURRENCY,
            mailbox=MAILBOX,
            queue=QUEUE,
            attempts=ATTEMPTS,
            backoff=lambda _: PAUSE,
            dead_letters=self.letters.append,
            clock=self.clock,
        )
        self.pieces: list[Piece] = []
        self.begun: list[Piece] = []
        self.rejected = self.completed = self.given_up = 0

    def settle(self, seconds: float = 0.0) -> None:
        """Let time pass and everybody run."""
        self.runner.run(self.clock.run_for(seconds))

    async def work(self, piece: Piece) -> str:
        """One attempt, which ends as it is told."""
        if not piece.attempts:
            self.begun.append(piece)
        piece.attempts += 1
        piece.inside = True
        fails = await piece.outcomes.get()
        piece.inside = False
        if fails:
            raise ConnectionError
        return "done"

    def alive(self, key: int | None = None) -> list[Piece]:
        """The pieces that are not over, in the order in which they were accepted."""
        return [piece for piece in self.pieces if not piece.over and key in (None, piece.key)]

    def has_room(self, key: int) -> bool:
        """Whether the executor should take work for `key` now."""
        if not self.alive(key) and sum(piece.inside for piece in self.pieces) < CONCURRENCY:
            return True
        waiting = [piece for piece in self.alive() if piece.waits]
        return len(waiting) < QUEUE and sum(piece.key == key for piece in waiting) < MAILBOX

    @rule(key=st.integers(0, 3), posted=st.booleans())
    def work_is_handed_over(self, key: int, posted: bool) -> None:
        """It is taken exactly when there is room."""
        piece, room = Piece(key), self.has_room(key)

        async def hand_over() -> bool:
            if posted:
                try:
                    self.executor.post(key, self.work, piece)
                except WorkRefused:
                    return False
                return True
            piece.caller = asyncio.create_task(self.executor.submit(key, self.work, piece))
            await asyncio.sleep(0)
            return not (piece.caller.done() and isinstance(piece.caller.exception(), WorkRefused))

        assert self.runner.run(hand_over()) is room
        if room:
            self.pieces.append(piece)
        else:
            self.rejected += 1
        self.settle()

    @rule(which=st.integers(0, 99), fails=st.booleans(), leaver=st.integers(0, 9))
    def an_attempt_ends(self, which: int, fails: bool, leaver: int) -> None:
        """It succeeds, fails and pauses, or fails for the last time; in the same turn a waiting caller may leave."""
        inside = [piece for piece in self.alive() if piece.inside]
        if not inside:
            return
        piece = inside[which % len(inside)]
        piece.outcomes.put_nowait(fails)
        if leaver < 3:
            self.leave(leaver)
        self.settle()
        if fails and piece.attempts < ATTEMPTS:
            return
        piece.over = True
        self.given_up += fails
        self.completed += not fails
        if piece.caller is not None:
            assert piece.caller.done()

    @rule(which=st.integers(0, 99))
    def a_caller_leaves(self, which: int) -> None:
        """Its work is taken back if it waits, and goes on if it has begun."""
        self.leave(which)
        self.settle()

    def leave(self, which: int) -> None:
        """Cancel a caller of work that is not over."""
        called = [piece for piece in self.alive() if piece.caller is not None]
        if called:
            piece = called[which % len(called)]
            assert piece.caller is not None
            piece.caller.cancel()
            piece.over = piece.waits

    @rule(seconds=st.sampled_from((0.4, PAUSE)))
    def time_passes(self, seconds: float) -> None:
        """Some pauses end."""
        self.settle(seconds)

    @invariant()
    def each_key_is_in_order(self) -> None:
        """What began for a key is what was accepted for it, in that order, and one piece at a time."""
        for key in range(4):
            accepted = [piece for piece in self.pieces if piece.key == key and piece.attempts]
            assert [piece for piece in self.begun if piece.key == key] == accepted
            assert sum(bool(piece.attempts) for piece in self.alive(key)) <= 1

    @invariant()
    def permits_are_used_and_kept(self) -> None:
        """Never more than the permits run, and no key waits beside a free one."""
        inside = sum(piece.inside for piece in self.pieces)
        assert inside <= CONCURRENCY
        if inside < CONCURRENCY:
            assert all(self.alive(key)[0].attempts for key in range(4) if self.alive(key))

    @invariant()
    def figures_are_those_of_the_model(self) -> None:
        """What the executor counts is what happened, and it keeps nothing of keys without work."""
        alive, executor = self.alive(), self.executor
        assert executor.waiting == sum(piece.waits for piece in alive)
        assert executor.running == sum(not piece.waits for piece in alive)
        assert executor.keys == len({piece.key for piece in alive})
        assert (executor.rejected, executor.completed) == (self.rejected, self.completed)
        assert executor.dead_letters == len(self.letters) == self.given_up

    def teardown(self) -> None:
        """All that is left ends when it is let, and the executor closes without a cut."""
        for piece in self.pieces:
            for _ in range(ATTEMPTS):
                piece.outcomes.put_nowait(False)
        self.settle(10 * PAUSE)
        assert self.executor.running == self.executor.waiting == self.executor.keys == 0
        assert self.runner.run(self.executor.close(timeout=5.0)) == 0
        self.runner.close()


ExecutorModel.TestCase.settings = settings(max_examples=2000 if FULL else 100, stateful_step_count=30, deadline=None)
TestExecutorModel = ExecutorModel.TestCase
TestExecutorModel.__doc__ = (
    "No order of events turns a key's work round, passes a bound, idles a permit or loses count."
)
