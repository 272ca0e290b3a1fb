"""Work that outlives whoever asked for it, and what of the asker's context does not go with it."""

from __future__ import annotations

from contextvars import Context, ContextVar, copy_context
from typing import Any, Final

__all__ = ["DEADLINE", "detached"]

DEADLINE: Final[ContextVar[Any]] = ContextVar("astra_deadline", default=None)
"""The deadline in force: `resilience.deadline` puts it there."""


def detached() -> Context:
    """Return a copy of this context without its deadline, which ends with the asker; all else goes on."""
    context = copy_context()
    if DEADLINE.get() is not None:
        context.run(DEADLINE.set, None)
    return context
