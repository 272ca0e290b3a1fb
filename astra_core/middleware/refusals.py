"""Answers and errors that speak against nobody: refusals of our own, and deadlines that a caller shortened.

Whoever judges the answer further out (a breaker, a retry) leaves a `Witness` in the scope; whoever refuses tells all of
them. They are objects, so they are reached through a foreign middleware too, also through one that copies the scope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from astra_core.resilience import refused_by_us

if TYPE_CHECKING:
    from astra_core.asgi import Scope

__all__ = ["WITNESS", "Witness", "is_refusal", "mark_refused"]

WITNESS = "astra.witness"
"""The scope key of the innermost witness."""

_DEPTH = 16
"""Causes that are followed: `raise error from error` is a ring."""


class Witness(Struct, eq=False):
    """Somebody who judges the answer to this request; `outer` is the next one further out.

    `refused` is the status of the refusal that it was told of: 0 when there will be no answer because nobody waits for
    it, -1 when there was none.
    """

    outer: Witness | None
    refused: int = -1


def mark_refused(scope: Scope, status: int) -> None:
    """Say that the answer of this `status` is a refusal of our own: no breaker counts it, and nobody tries again.

    Call it where an application turns `BreakerOpen` or `Overloaded` into an answer itself.
    """
    witness: Witness | None = scope.get(WITNESS)
    while witness is not None:
        witness.refused = status
        witness = witness.outer


def is_refusal(error: BaseException, depth: int = _DEPTH) -> bool:
    """Whether `error`, or what it was raised from, is a refusal of our own or a deadline that a caller shortened.

    A group is one when all in it are.
    """
    cause: BaseException | None = error
    for left in range(depth, 0, -1):
        if refused_by_us(cause):
            return True
        if isinstance(cause, BaseExceptionGroup):
            return all(is_refusal(each, left - 1) for each in cause.exceptions)
        if cause is None:
            return False
        cause = cause.__cause__
    return False
