"""What an executor keeps of work and of keys, and how work that would wait for itself is found.

Work that awaits what it submitted is an edge from its key to that one. A deadlock is a cycle of such edges, and a cycle
is closed only by a submission: there it is looked for. (Wait-for graphs: Coffman et al., System Deadlocks, 1971.)
"""

from __future__ import annotations

from asyncio import CancelledError
from collections import deque
from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable
    from contextvars import Context, Token

    from astra_core.keyed.turns import Turns

__all__ = ["Job", "Mailbox", "Stage", "enter", "leave", "surrounding", "waits_for"]


class Stage(Enum):
    """How far a piece of work has come."""

    WAITING = "waiting"
    BEGUN = "begun"
    ENDED = "ended"


class Job:
    """One piece of work. `awaits` are those it waits for itself, `parent` is the one that waits for it.

    `answered`: its last error is no failure, it is what the caller asked for.
    """

    __slots__ = (
        "answered",
        "args",
        "attempts",
        "awaits",
        "box",
        "call",
        "context",
        "cut",
        "future",
        "parent",
        "permit",
        "stage",
        "task",
        "turns",
    )

    def __init__(
        self,
        box: Mailbox,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        future: asyncio.Future[Any] | None = None,
        turns: Turns | None = None,
        context: Context | None = None,
    ) -> None:
        self.box = box
        self.call = call
        self.args = args
        self.turns = turns
        self.context = context
        self.stage = Stage.WAITING
        self.attempts = 0
        self.answered = False
        self.permit = False
        self.cut = False
        self.awaits: list[Job] | None = None
        self.parent: Job | None = None
        self.future = future
        self.task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Job({self.box.key!r}, {self.stage.value}, attempts={self.attempts})"

    @property
    def unheard(self) -> bool:
        """Whether nobody waits for it (any more)."""
        return self.future is None or self.future.done()

    def adopt(self, child: Job) -> None:
        """Note that this work waits for `child`, and lend the permit that it has no use for meanwhile."""
        child.parent = self
        if self.awaits is None:
            self.awaits = []
        self.awaits.append(child)
        if self.turns is not None:
            self.turns.give_back(self)
            self.turns.give()

    def answer(self, result: Any) -> None:
        """Give `result` to whoever waits for it."""
        if self.future is not None and not self.future.done():
            self.future.set_result(result)

    def tell(self, error: BaseException) -> None:
        """Let `error` be raised where somebody waits for this work."""
        if self.future is None or self.future.done():
            return
        if isinstance(error, CancelledError):
            self.future.cancel()
        else:
            self.future.set_exception(error)

    def leave(self) -> None:
        """Note that nobody waits for this work any more; a parent that waits for nothing else goes on."""
        parent, self.parent = self.parent, None
        if parent is None or parent.awaits is None:
            return
        parent.awaits.remove(self)
        if not parent.awaits and parent.turns is not None and parent.stage is Stage.BEGUN:
            parent.turns.take(parent)

    def end(self) -> None:
        """Note that this work is over: for whoever waited for it, and for what it had submitted and left behind."""
        self.stage = Stage.ENDED
        self.leave()
        for child in self.awaits or ():
            child.parent = None
        self.awaits = self.future = self.task = None  # what they hold may hold this in turn, by a traceback


class Mailbox:
    """The work of one key: `job` has begun and has not ended, the others wait behind it."""

    __slots__ = ("job", "key", "resume", "waiting")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.job: Job | None = None
        self.waiting: deque[Job] = deque()
        self.resume: asyncio.Future[None] | None = None
        """Set while `job` has paused and asks to go on."""

    def __repr__(self) -> str:
        return f"Mailbox({self.key!r}, job={self.job!r}, waiting={len(self.waiting)})"


_SURROUNDING: ContextVar[Job | None] = ContextVar("astra_core.keyed.surrounding", default=None)


def enter(job: Job) -> Token[Job | None]:
    """Make `job` the surrounding work of this context and of those copied from it."""
    return _SURROUNDING.set(job)


def leave(token: Token[Job | None]) -> None:
    """Make what was the surrounding work before `enter` gave `token` that of this context again."""
    _SURROUNDING.reset(token)


def surrounding() -> Job | None:
    """Return the work inside which the caller runs; None as well in a task that outlived the work it came from."""
    job = _SURROUNDING.get()
    return job if job is not None and job.stage is Stage.BEGUN else None


def waits_for(box: Mailbox, job: Job) -> tuple[Hashable, ...]:
    """Return the keys over which what begins next in `box` waits for `job`, from that of `box` to that of `job`."""
    paths: list[tuple[Mailbox, tuple[Hashable, ...]]] = [(box, (box.key,))]
    seen: set[Mailbox] = set()
    while paths:
        box, path = paths.pop()
        if box in seen or box.job is None:
            continue
        if box.job is job:
            return path
        seen.add(box)
        paths.extend((child.box, (*path, child.box.key)) for child in box.job.awaits or ())
    return ()
